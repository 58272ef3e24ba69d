from __future__ import annotations

from typing import get_args

import pytest

from concept_forget.config import MethodName
from concept_forget.unlearn.catalogue import list_methods, list_retain_terms, print_methods

ENTRIES = {entry.name: entry for entry in list_methods()}


def test_every_method_has_its_line_with_formula_and_paper() -> None:
    assert list(ENTRIES) == list(get_args(MethodName))
    for entry in [*ENTRIES.values(), *list_retain_terms()]:
        assert entry.formula.startswith(("L = ", "θ")), entry.name
        assert entry.source
        assert entry.cost
    assert [entry.name for entry in list_retain_terms()] == ["kl", "nll", "hidden"]


def test_costs_follow_from_what_a_method_needs() -> None:
    assert ENTRIES["grad_ascent"].cost == "1 forward, 1 backward"
    assert ENTRIES["npo"].cost == "1 forward, 1 backward; once 1 forward"
    assert ENTRIES["dpo"].cost == "2 forward, 2 backward; once 2 forward"
    assert ENTRIES["idk"].cost == "1 forward, 1 backward"
    assert ENTRIES["rmu"].cost == "1 forward, 1 backward, up to its layer"
    assert ENTRIES["elm"].cost == "1 forward, 1 backward; once 3 forward"
    assert ENTRIES["in_context"].cost == "none"
    assert "shards and slices that held the rows" in ENTRIES["sisa"].cost
    assert ENTRIES["dp_sgd"].needs == ("train_data", "initial")
    assert ENTRIES["sisa"].options == ("epochs", "shards", "slices")


def test_a_method_names_its_options_and_its_retain_objective() -> None:
    assert ENTRIES["satimp"].options == ("beta1", "beta2")
    assert ENTRIES["dpo"].options == ("beta", "alternative")
    assert ENTRIES["rmu"].retain == "hidden"
    assert ENTRIES["npo"].retain == "kl"


def test_the_table_shows_formulas_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_methods()
    shown = capsys.readouterr().out
    assert "L = mean_t (1/d) · ‖h_t - c·u‖²" in shown
    for name in get_args(MethodName):
        assert name in shown
