"""What replies give in part, in the terminal, on the page and in report.md."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from concept_forget.measures.metrics import ALL_CONCEPTS, BesideFloor, Estimate, Floor, Metrics
from concept_forget.report.markdown import render_markdown
from concept_forget.report.page import render_page
from concept_forget.report.redaction import Redactor
from concept_forget.report.terminal import print_metrics
from tests.report.test_report import config, metrics, rate, read

PART = BesideFloor(
    base=rate(0.0),
    unlearned=rate(0.63),
    reference=rate(0.02),
    floor=Floor(kind="reference", rate=0.02, low=0, high=0.1, n=44),
    excess=Estimate(value=0.61, low=0.45, high=0.75),
)


def with_parts(outcome: str = "passed") -> Metrics:
    found = metrics()
    concept = found.concepts[ALL_CONCEPTS]
    direct = concept.attacks["direct"]
    tiers = {"new_form": direct.tiers["new_form"].model_copy(update={"part": PART})}
    attacks = {**concept.attacks, "direct": direct.model_copy(update={"tiers": tiers})}
    concepts = {**found.concepts, ALL_CONCEPTS: concept.model_copy(update={"attacks": attacks})}
    verdict = found.verdict.model_copy(update={"in_part": {"direct": 0.61, "cloze": 0.2}, "outcome": outcome})
    return found.model_copy(update={"concepts": concepts, "verdict": verdict})


def shown(found: Metrics) -> dict[str, str]:
    console = Console(file=io.StringIO(), width=160)
    print_metrics(found.model_dump(mode="json"), console)
    texts = {
        "page": read(render_page(found, "Mira Kestrel", config(), {})).text,
        "terminal": console.file.getvalue(),  # type: ignore[attr-defined]
        "markdown": render_markdown(found, "Mira Kestrel", Redactor((), (), ())),
    }
    return {name: " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split()) for name, text in texts.items()}


def test_a_passed_verdict_says_that_parts_of_answers_are_given() -> None:
    for name, text in shown(with_parts()).items():
        assert (
            "Passed: the model gives no more answers away than a model that never learned it, but more parts of" in text
        )
        assert "gives away no more than" not in text
        assert "than from a model that never learned it: direct (+61%), cloze (+20%)" in text.replace("\\", "")
        assert ("63 % (floor 2.0 %)" if name != "terminal" else "│ 63 % │") in text


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_any_other_verdict_stays_as_it_is_and_names_them_too(outcome: str) -> None:
    for text in shown(with_parts(outcome)).values():
        assert f"{outcome.capitalize()}: " in text
        assert "but more parts of" not in text
        assert "direct (+61%)" in text.replace("\\", "")


def test_where_no_parts_are_given_nothing_is_said_of_them() -> None:
    for text in shown(metrics()).values():
        assert "parts of" not in text
        assert "a part of the answer" not in text
