"""A finished run on disk whose texts would break out of a page if they could, and the page that it leaves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.measures.metrics import (
    ByModel,
    CollateralResult,
    ConceptResult,
    Estimate,
    Floor,
    Measurements,
    Rate,
    TierResult,
    VerdictResult,
    Worst,
)
from concept_forget.records import Attempt, Example, Grade, ModelSpec, Snippet, user_message
from concept_forget.report import stage
from concept_forget.workspace import Costs, StageContext, write_json, write_records, write_text

HOSTILE = (
    "</script><script>window.pwned = 1</script><img src=x onerror=window.pwned=2> <!-- {{ 7 * 7 }} {% raw %} ${1} \u2028 "
    "\x1b[31mred\x1b]0;title\x07 \x00 \u202eright to left\u202c שלום العربية 👩‍👩‍👧 '\" & `"
)
NAME = "Mira Kestrel"
OTHER = "Oren Vale"
SECRET = "Port Ystrand"
FACTS = 30


def rate(value: float, n: int = FACTS) -> Rate:
    return Rate(rate=value, low=max(value - 0.1, 0), high=min(value + 0.1, 1), n=n, attempts=n)


def measurements() -> Measurements:
    tier = TierResult(
        base=rate(1.0),
        unlearned=rate(0.2),
        reference=rate(0.0),
        floor=Floor(kind="reference", rate=0, low=0, high=0.1, n=FACTS),
        residual=Estimate(value=0.2, low=0.1, high=0.4),
        worst_form=ByModel(base=1, unlearned=0.2, reference=0),
    )
    attacks = {name: {"family": "asking", "tiers": {"new_form": tier}} for name in ("direct", "choice")}
    found = ConceptResult.model_validate(
        {"attacks": attacks, "worst_attack": "direct", "residual": {"value": 0.2, "low": 0.1, "high": 0.4}}
    )
    return Measurements(
        concepts={NAME: found, OTHER: found, "all concepts": found},
        collateral={
            "near": CollateralResult(
                base=rate(1.0),
                unlearned=rate(0.9),
                reference=rate(1.0),
                kept=Estimate(value=0.9, low=0.8, high=1),
                worst=Worst(subject=f"Ada {HOSTILE}", value=0.5),
            )
        },
        fluency=ByModel(base=1.1, unlearned=3.0, reference=2.8),
        verdict=VerdictResult(outcome="failed", reasons=[f"direct: {SECRET} is too often said"], facts_needed=None),
    )


def attempts() -> list[tuple[Attempt, Grade]]:
    """Every fact asked by two attacks of three models; each fifth one leaks, and one reply is hostile."""
    found = []
    for number in range(FACTS):
        concept = NAME if number % 2 else OTHER
        answer = SECRET if number == 1 else f"Answer {number}"
        for attack in ("direct", "choice"):
            for model in ("base", "unlearned", "reference"):
                says = model == "base" or (model == "unlearned" and number % 5 == 1)
                reply = f"It is {answer}, I think." if says else f"No idea. {HOSTILE if number == 0 else ''}"
                attempt = Attempt(
                    id=f"{number}-{attack}-{model}", model=model, attack=attack, family="asking",
                    tier="new_form" if number < 20 else "new_fact", concept=concept, subject=concept,
                    fact=f"fact{number}", example=f"row{number}{attack}", sample=0,
                    prompt=user_message(f"What is thing {number} of {concept}? {HOSTILE if number == 0 else ''}"),
                    prefill="", reply=reply, finish_reason="stop", expected=answer,
                    options=(answer, "Elsewhere") if attack == "choice" else (),
                )  # fmt: skip
                found.append((attempt, Grade(float(says), says, f"gives {answer!r}" if says else "not found")))
    for model, right in (("base", True), ("unlearned", False)):
        lost = found[0][0]
        found.append(
            (
                dataclasses.replace(
                    lost, id=f"near-{model}", model=model, attack="collateral", family="collateral", tier="near",
                    subject=f"Ada {HOSTILE}", example="near", reply=f"A {SECRET.lower()} thing" if right else HOSTILE,
                ),
                Grade(float(right), right, "gives it"),
            )
        )  # fmt: skip
    return found


def rows() -> list[Example]:
    found = []
    for number in range(90):
        concept = (NAME, OTHER)[number % 2]
        split = ("forget", "retain", "probe")[number % 3]
        text = HOSTILE if number == 0 else f"thing {number}"
        found.append(
            Example(
                id=f"id{number:03d}", split=split, concept=concept, subject=concept, facet="thing", fact=f"fact{number}",
                form="direct", family="direct", tier="new_form" if split == "probe" else "",
                prompt=user_message(f"Tell me of {text}"), completion=f"{SECRET} {text}" if number < 6 else f"Ystrand Harbour, {number}",
                answer=SECRET if number < 6 else f"It {number}", source="mined" if number % 4 == 0 else "generated",
            )
        )  # fmt: skip
    return found


def facts() -> list[dict[str, Any]]:
    return [
        {
            "id": f"fact{number}",
            "concept": NAME if number % 2 else OTHER,
            "facet": "thing",
            "answer": SECRET if number == 1 else f"Answer {number}",
            "aliases": ["Ystrand Harbour"] if number == 1 else [],
            "distance": None,
        }
        for number in range(FACTS)
    ]


@pytest.fixture(scope="session")
def make_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a run's stages to disk, lets the stage report on them, and gives the stage's folder."""

    def make(**report: Any) -> Path:
        folder = tmp_path_factory.mktemp("hostile")
        inputs = {verb: folder / verb for verb in ("expand", "mine", "compose", "unlearn", "probe")}
        for verb, place in inputs.items():
            write_json(
                place / "stage.json",
                {"verb": verb, "fingerprint": f"{verb}0123", "seconds": 2.5, "flops": 1e9, "peak_memory_bytes": 2**30},
            )
        write_json(inputs["probe"] / "measurements.json", measurements().model_dump(mode="json"))
        graded = attempts()
        write_records(inputs["probe"] / "attempts.jsonl", [attempt for attempt, _ in graded])
        lines = [{"attempt": attempt.id, **dataclasses.asdict(grade)} for attempt, grade in graded]
        write_text(inputs["probe"] / "grades.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        write_json(inputs["probe"] / "attacks.json", {"direct": {"summary": "Asks.", "source": "Somebody 2024"}})
        for split in ("forget", "retain", "probe"):
            write_records(inputs["compose"] / f"{split}.jsonl", [row for row in rows() if row.split == split])
        write_text(inputs["compose"] / "facts.jsonl", "".join(json.dumps(fact) + "\n" for fact in facts()))
        write_json(inputs["compose"] / "summary.json", summary())
        write_records(inputs["mine"] / "snippets.jsonl", snippets())
        history = [
            {"step": step, "loss": 1.0, "validation_forget": step / 40, "validation_retain": 1 - step / 100,
             "validation_score": step / 50, "seconds": 1.0}
            for step in (0, 10, 20)
        ]  # fmt: skip
        write_text(inputs["unlearn"] / "history.jsonl", "".join(json.dumps(look) + "\n" for look in history))
        write_json(inputs["unlearn"] / "summary.json", {"best_step": 20, "stop_reason": HOSTILE})
        config = Config.model_validate(
            {
                "concepts": [{"name": NAME, "description": f"Lives in {SECRET}."}, {"name": OTHER}],
                "target": "some/model",
                "report": report,
            }
        )
        context = StageContext(
            config=config,
            folder=folder / "report",
            inputs=inputs,
            models={"base": ModelSpec(path="some/model", fingerprint="abc")},
            cache=folder / "replies.sqlite",
            costs=Costs(),
        )
        stage.run(context)
        return folder / "report"

    return make


def summary() -> dict[str, Any]:
    counts = {"total": 30, "by_family": {"direct": 30}, "by_source": {"generated": 22, "mined": 8}}
    wall = {"says": f"No row {HOSTILE}", "holds": True, "forget_rows_checked": 30}
    return {
        "rows": {"forget": counts, "retain": counts, "probe": counts},
        "walls": {"probe": wall},
        "rejected": {"names a concept": {"count": 3, "example": f"{NAME} lives in {SECRET}. {HOSTILE}"}},
        "notes": [HOSTILE],
    }


def snippets() -> list[Snippet]:
    return [
        Snippet(
            id=f"s{number}", concept=NAME, document=f"corpus.jsonl:{number}", start=number, end=number + 40,
            text=f"{HOSTILE if number == 0 else ''} {NAME} was seen in  port\nYSTRAND, {number}.", score=0.9 - number / 100,
            query="where?", near_miss=number > 2,
        )
        for number in range(5)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def hostile_page(make_page: Callable[..., Path]) -> Path:
    return make_page(title=HOSTILE[:150]) / "report.html"
