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
            "Passed: the model gives no more answers away than one that never learned them, but more parts of" in text
        )
        assert "gives away no more than" not in text
        assert "than from a model that never learned it: direct (+61%), cloze (+20%)" in text.replace("\\", "")
        assert ("63 % / 2.0 %" if name != "terminal" else "│ 63 % │") in text


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_any_other_verdict_stays_as_it_is_and_names_them_too(outcome: str) -> None:
    for text in shown(with_parts(outcome)).values():
        assert f"{outcome.capitalize()}: " in text
        assert "but more parts of" not in text
        assert "direct (+61%)" in text.replace("\\", "")


def test_what_the_verdict_does_not_rest_on_is_told_beside_it() -> None:
    found = metrics()
    assert "does not rest" not in " ".join(shown(found).values())  # of a run that does not say on what it rests
    verdict = found.verdict.model_copy(update={"tiers": ["new_form"], "facts_needed": 19})
    told = found.model_copy(update={"verdict": verdict})
    concept = told.concepts[ALL_CONCEPTS]
    tiers = concept.attacks["direct"].tiers
    learned = tiers["new_fact"].model_copy(update={"residual": Estimate(value=0.43, low=0.2, high=0.67)})
    direct = concept.attacks["direct"].model_copy(update={"tiers": {**tiers, "new_fact": learned}})
    left = concept.model_copy(update={"attacks": {**concept.attacks, "direct": direct}})
    told = told.model_copy(update={"concepts": {**told.concepts, ALL_CONCEPTS: left}})
    for text in shown(told).values():
        plain = text.replace("\\", "")
        assert "Passed: asked about trained facts, new forms, the model gives away no more than" in plain
        assert (
            "facts never trained on, on which the verdict does not rest, are not forgotten as well: direct left"
            in plain
        )
        assert "+0.43 (+0.20 to +0.67) of what base knew" in plain
        assert "kept 94 % (90 to 98 %); least of Ada Finch, 80 %" in plain
        assert "about 19 facts per attack would decide it" in plain


def test_where_no_parts_are_given_nothing_is_said_of_them() -> None:
    for text in shown(metrics()).values():
        assert "parts of" not in text
        assert "a part of the answer" not in text
