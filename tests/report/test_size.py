"""A page stays under its limit whatever a run holds, and says what it leaves out."""

from __future__ import annotations

import dataclasses
import time

import pytest

from concept_forget.config import Config
from concept_forget.measures.metrics import ByModel, ConceptResult, Cost, Metrics, VerdictResult
from concept_forget.records import Attempt, Example, Grade, Snippet, user_message
from concept_forget.report import page
from concept_forget.report.material import Material

TEXT = "<&\"' שלום \x1b" * 30


def huge() -> Material:
    attempt = Attempt(
        "a",
        "base",
        "direct",
        "asking",
        "new_form",
        "Mira",
        "Mira",
        "f",
        "e",
        0,
        user_message(TEXT),
        "",
        TEXT,
        "stop",
        "it",
    )
    attempts = [
        (dataclasses.replace(attempt, fact=f"f{fact}", attack=f"attack {attack}", model=model), Grade(0, False, "no"))
        for fact in range(400)
        for attack in range(12)
        for model in ("base", "unlearned")
    ]
    row = Example("i", "forget", "Mira", "Mira", "", "f", "direct", "direct", "", user_message(TEXT), TEXT, "it")
    rows = [dataclasses.replace(row, id=f"{number}") for number in range(8000)]
    snippet = Snippet("s", "Mira", "d", 0, 1, TEXT, 0.5, TEXT)
    return Material(
        attempts=attempts, rows=rows, snippets=[dataclasses.replace(snippet, id=f"{n}") for n in range(5000)]
    )


def metrics() -> Metrics:
    return Metrics(
        concepts={"Mira": ConceptResult(attacks={}, worst_attack=None, residual=None)},
        collateral={},
        fluency=ByModel(base=None, unlearned=None),
        verdict=VerdictResult(outcome="inconclusive", reasons=[], facts_needed=None),
        cost=Cost(seconds={}, flops={}, peak_memory_bytes={}, ratio_to_retrain=None),
    )


def test_a_huge_run_makes_a_page_under_six_megabytes() -> None:
    config = Config.model_validate({"concepts": [{"name": "Mira"}], "target": "m"})
    began = time.process_time()
    rendered = page.render_page(metrics(), "Mira", config, {}, huge())
    spent = time.process_time() - began
    assert 2_000_000 < len(rendered.encode()) < 6_000_000
    for words in ("of 8,000 rows are here", "of 5,000 are here", "cells are left out to keep this page small"):
        assert words in rendered
    assert spent < 15


def test_where_that_is_too_much_all_the_same_it_is_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LARGEST", 1_500_000)
    config = Config.model_validate({"concepts": [{"name": "Mira"}], "target": "m"})
    rendered = page.render_page(metrics(), "Mira", config, {}, huge())
    assert 500_000 < len(rendered.encode()) < 1_500_000
