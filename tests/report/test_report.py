from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from concept_forget.config import Config
from concept_forget.measures.metrics import (
    ALL_CONCEPTS,
    AttackResult,
    ByModel,
    CollateralResult,
    ConceptResult,
    Cost,
    DifferenceTest,
    Dose,
    DoseCurve,
    EquivalenceTest,
    Estimate,
    Floor,
    Measurements,
    Metrics,
    ModelTests,
    Rate,
    Replacement,
    TierResult,
    VerdictResult,
    Worst,
)
from concept_forget.records import ModelSpec
from concept_forget.report import stage
from concept_forget.report.page import render_page
from concept_forget.report.terminal import print_metrics
from concept_forget.report.wording import diversity_rows, dose_text
from concept_forget.workspace import Costs, StageContext, read_json, write_json

HOSTILE = "<script>alert('x')</script> {{ 7 * 7 }} \x1b[31mMira"


def rate(value: float, n: int = 44) -> Rate:
    return Rate(rate=value, low=max(value - 0.05, 0), high=min(value + 0.06, 1), n=n, attempts=2 * n)


def tier(unlearned: float, *, reference: bool = True) -> TierResult:
    return TierResult(
        base=rate(0.97),
        unlearned=rate(unlearned),
        reference=rate(0.02) if reference else None,
        floor=Floor(kind="reference" if reference else "strangers", rate=0.02, low=0, high=0.1, n=44),
        residual=Estimate(value=(unlearned - 0.02) / 0.95, low=-0.05, high=0.1),
        worst_form=ByModel(base=1.0, unlearned=0.1, reference=0.05 if reference else None),
    )


def measurements(name: str = "Mira Kestrel", *, reference: bool = True) -> Measurements:
    result = ConceptResult(
        attacks={
            "direct": AttackResult(
                family="asking",
                tiers={"new_form": tier(0.0, reference=reference), "new_fact": tier(0.3, reference=reference)},
            ),
            "cloze": AttackResult(family="asking", tiers={"new_form": tier(0.04, reference=reference)}),
        },
        worst_attack="cloze",
        residual=Estimate(value=0.02, low=-0.05, high=0.1),
    )
    return Measurements(
        concepts={name: result, "Oren Vale": result, ALL_CONCEPTS: result},
        collateral={
            "near": CollateralResult(
                base=rate(0.99),
                unlearned=rate(0.93),
                reference=rate(0.98),
                kept=Estimate(value=0.94, low=0.9, high=0.98),
                worst=Worst(subject="Ada Finch", value=0.8),
            )
        },
        fluency=ByModel(base=1.1, unlearned=30.0, reference=28.0 if reference else None),
        verdict=VerdictResult(outcome="passed", reasons=["direct: at most 6 % above the floor"], facts_needed=None),
    )


def metrics(name: str = "Mira Kestrel", *, reference: bool = True) -> Metrics:
    return Metrics(
        **dict(measurements(name, reference=reference)),
        cost=Cost(
            seconds={"expand": 12.0, "unlearn": 31.5},
            flops={"expand": 0, "unlearn": 3e12},
            peak_memory_bytes={"expand": 2**30, "unlearn": 2**30},
            ratio_to_retrain=0.12,
        ),
    )


def config(name: str = "Mira Kestrel") -> Config:
    return Config.model_validate({"concepts": [{"name": name}, {"name": "Oren Vale"}], "target": "some/model"})


class Reader(HTMLParser):
    """Collects tags, text and the addresses that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_stands_alone_and_opens_with_the_verdict() -> None:
    page = render_page(metrics(), "Mira Kestrel", config(), {"expand": {"facts": 96}})
    reader = read(page)
    assert all(address.startswith("#") for address in reader.addresses)
    assert all(f' id="{address[1:]}"' in page for address in reader.addresses)
    assert reader.tags.count("script") == 2  # its own, and the rows that it pages through
    assert not re.search(r"url\(|@import", page)
    text = reader.text.partition("Passed")[2]
    assert 0 < text.index("What is still there") < text.index("What else was lost")
    assert len(page) < 6_000_000


def test_every_bar_has_a_row_with_the_same_number() -> None:
    page = render_page(metrics(), "Mira Kestrel", config(), {})
    assert page.count('<g class="bar-unlearned"><title>') == 3 + 1  # three attack and tier pairs, one distance
    assert page.count("<title>direct, unlearned: 0.0%") == 1
    assert "0\N{NO-BREAK SPACE}% (under 6.0\N{NO-BREAK SPACE}%)" in read(page).text


@pytest.mark.parametrize("place", ["title", "concept", "summary"])
def test_nothing_that_a_user_or_a_model_wrote_becomes_markup(place: str) -> None:
    name = HOSTILE if place == "concept" else "Mira Kestrel"
    title = HOSTILE if place == "title" else "t"
    summaries = {"expand": {"example": HOSTILE}} if place == "summary" else {}
    page = render_page(metrics(name), title, config(name), summaries)
    assert read(page).tags.count("script") == 2
    assert "alert('x')" in read(page).text
    assert "49" not in read(page).text.split("How it was made")[-1].split("Versions")[0]


FIGURES = {
    "facets": 8, "facets_covered": 7, "coverage": 0.875, "items": 81, "distinct_1": 0.145, "distinct_2": 0.3567,
    "distinct_3": 0.5266, "self_bleu": 0.7028, "distance": 0.5346, "vendi": 8.4318,
}  # fmt: skip
WITHOUT_ENCODER = {**FIGURES, "distance": None, "vendi": None}
KIND = {key: value for key, value in FIGURES.items() if not key.startswith(("facets", "coverage"))}


def written(name: str = "Mira Kestrel") -> dict[str, object]:
    concepts = {name: FIGURES, "Oren Vale": WITHOUT_ENCODER}
    return {"diversity": {"concepts": concepts, "kinds": {"two_hop": KIND}, "all": {**FIGURES, "items": 162}}}


def test_coverage_and_diversity_have_a_row_for_each_concept_for_all_and_for_each_kind() -> None:
    assert diversity_rows(written()) == [
        ("Mira Kestrel", "7 of 8", "81", "0.14, 0.36, 0.53", "0.70", "0.53", "8.4"),
        ("Oren Vale", "7 of 8", "81", "0.14, 0.36, 0.53", "0.70", "–", "–"),
        ("all concepts", "7 of 8", "162", "0.14, 0.36, 0.53", "0.70", "0.53", "8.4"),
        ("two hop", "", "81", "0.14, 0.36, 0.53", "0.70", "0.53", "8.4"),
    ]
    reader = read(render_page(metrics(), "t", config(), {"expand": written(HOSTILE)}))
    assert reader.tags.count("script") == 2
    assert "What was written" in reader.text
    assert reader.text.count("0.14, 0.36, 0.53") == 4
    out = io.StringIO()
    print_metrics(metrics().model_dump(), Console(file=out, width=160), written=written("[bold]Mira"))
    assert "[bold]Mira" in out.getvalue()
    assert out.getvalue().count("0.14, 0.36, 0.53") == 4


@pytest.mark.parametrize("summary", [None, {}, {"engine": "none"}, {"diversity": {}}])
def test_where_nothing_was_written_nothing_is_said_of_it(summary: dict[str, object] | None) -> None:
    assert diversity_rows(summary) == []
    page = render_page(metrics(), "t", config(), {} if summary is None else {"expand": summary})
    assert "What was written" not in page


def test_without_a_reference_nothing_is_said_of_one() -> None:
    page = render_page(metrics(reference=False), "Mira Kestrel", config(), {})
    assert "reference: never learned it" not in page
    assert "strangers" in read(page).text


def test_the_terminal_table_shows_the_same_result() -> None:
    out = io.StringIO()
    print_metrics(metrics().model_dump(), Console(file=out, width=160))
    text = out.getvalue()
    for word in (
        ALL_CONCEPTS,
        "Passed",
        "0\N{NO-BREAK SPACE}% (under 6.0\N{NO-BREAK SPACE}%)",
        "Ada Finch: 80\N{NO-BREAK SPACE}%",
        "0.12 ×",
        "at most 6 % above the floor",
    ):
        assert word in text


def test_the_stage_adds_cost_and_the_ratio_to_retraining(tmp_path: Path) -> None:
    inputs = {}
    for verb, flops in (("probe", 1e9), ("unlearn", 3e12)):
        inputs[verb] = tmp_path / verb
        write_json(inputs[verb] / "stage.json", {"seconds": 2.5, "flops": flops, "peak_memory_bytes": 100})
        write_json(inputs[verb] / "summary.json", {"rows": 3})
    write_json(inputs["probe"] / "measurements.json", measurements().model_dump())
    write_json(tmp_path / "reference" / "sandbox.json", {"flops": 6e12})
    context = StageContext(
        config=config(),
        folder=tmp_path / "report",
        inputs=inputs,
        models={"reference": ModelSpec(path=str(tmp_path / "reference"))},
        cache=tmp_path / "replies.sqlite",
        costs=Costs(),
    )
    assert stage.run(context)["outcome"] == "passed"
    written = Metrics.model_validate(read_json(tmp_path / "report" / "metrics.json"))
    assert written.schema_version == 1
    assert written.cost.ratio_to_retrain == 0.5
    assert written.cost.seconds == {"probe": 2.5, "unlearn": 2.5}
    assert (tmp_path / "report" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def with_new_kinds() -> Metrics:
    """Metrics of a run that asked through trained facts, and that was to replace an answer."""
    plain = measurements()
    replaced = tier(0.1).model_copy(
        update={"replacement": Replacement(base=rate(0.01, 5), unlearned=rate(0.76, 5), reference=None)}
    )
    attacks = {
        "direct": AttackResult(family="asking", tiers={"new_form": replaced}),
        "two_hop": AttackResult(family="asking", tiers={"two_hop": tier(0.23)}),
    }
    concept = plain.concepts[ALL_CONCEPTS].model_copy(update={"attacks": attacks})
    return metrics().model_copy(update={"concepts": {"Mira Kestrel": concept}})


def test_chains_and_new_answers_are_shown_where_there_are_any() -> None:
    found = with_new_kinds()
    text = read(render_page(found, "Mira Kestrel", config(), {})).text
    console = Console(file=io.StringIO(), width=160)
    print_metrics(found.model_dump(mode="json"), console)
    terminal = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in (text, terminal):
        shown = shown.replace("\N{NO-BREAK SPACE}", " ")
        assert "through trained facts" in shown
        assert "What is said instead" in shown
        assert "76 % (71 to 82 %)" in shown
    assert "Share of facts given away, through trained facts" in text


def test_where_there_are_none_nothing_is_said_of_them() -> None:
    text = read(render_page(metrics(), "Mira Kestrel", config(), {})).text
    console = Console(file=io.StringIO(), width=160)
    print_metrics(metrics().model_dump(mode="json"), console)
    for shown in (text, console.file.getvalue()):  # type: ignore[attr-defined]
        assert "What is said instead" not in shown
        assert "through trained facts" not in shown


def equivalence(outcome: str, needed: int | None = None) -> EquivalenceTest:
    return EquivalenceTest.model_validate(
        {"outcome": outcome, "margin": 0.1, "difference": 0.02, "lower": -0.031, "upper": 0.069,
         "p": None if outcome == "underpowered" else 0.02, "n": 14, "facts_needed": needed}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "needed", "words"),
    [
        ("alike", None, "alike within 10 % (-3.1 % to +6.9 %)"),
        ("different", None, "differs by more than 10 % (-3.1 % to +6.9 %)"),
        ("underpowered", 29, "too few facts to say: 14, at least 29 are needed"),
        ("undecided", 316, "undecided (-3.1 % to +6.9 %): about 316 facts would tell"),
        ("undecided", None, "undecided (-3.1 % to +6.9 %): no number of facts would tell"),
    ],
)
def test_what_was_tested_is_told_in_words(outcome: str, needed: int | None, words: str) -> None:
    tests = ModelTests(
        base=DifferenceTest(p=0.0002, adjusted=0.0004),
        reference=DifferenceTest(p=0.25, adjusted=0.5),
        equivalence=equivalence(outcome, needed),
    )
    for shown in shown_with(tests):
        assert words in shown
        assert "< 0.001 (< 0.001)" in shown
        assert "0.250 (0.500)" in shown
        assert "A large p shows no likeness" in shown


def test_without_a_reference_the_tests_say_so() -> None:
    tests = ModelTests(base=DifferenceTest(p=0.25, adjusted=0.5), reference=None, equivalence=None)
    for shown in shown_with(tests):
        assert "no reference" in shown


def test_where_nothing_was_tested_there_is_no_table_of_tests() -> None:
    for shown in shown_with(None):
        assert "permutation test" not in shown


def shown_with(tests: ModelTests | None) -> list[str]:
    """The page and the terminal's tables of a run with one attack, as plain text on one line."""
    attack = AttackResult(family="asking", tiers={"new_form": tier(0.04).model_copy(update={"tests": tests})})
    concept = measurements().concepts[ALL_CONCEPTS].model_copy(update={"attacks": {"direct": attack}})
    found = metrics().model_copy(update={"concepts": {"Mira Kestrel": concept}})
    out = io.StringIO()
    print_metrics(found.model_dump(mode="json"), Console(file=out, width=300))
    return [" ".join(text.split()) for text in (read(render_page(found, "t", config(), {})).text, out.getvalue())]


def curve(smallest: float | None, *, falls: bool = True) -> DoseCurve:
    doses = [
        Dose(
            alpha=alpha,
            rate=rate(left),
            residual=Estimate(value=left, low=left - 0.1, high=left + 0.1),
            lower=left - 0.2,
        )
        for alpha, left in ((0.0, 1.0), (0.25, 0.8), (0.5, 0.31), (0.75, 0.1), (1.0, 0.0))
    ]
    floor = Floor(kind="strangers", rate=0.02, low=0, high=0.1, n=44)
    return DoseCurve(floor=floor, doses=doses, smallest_detected=smallest, falls=falls)


def test_the_smallest_leak_that_was_detected_is_named() -> None:
    text = dose_text(curve(0.5)).replace("\N{NO-BREAK SPACE}", " ")
    assert "on these 44 facts is a residual of +0.31 (+0.21 to +0.41), that of 50 % of the way from base." in text
    assert "What leaves less than that may go unseen." in text
    assert text.endswith("No model leaked clearly more than one that lies nearer to base.")
    assert "that of the unlearned model." in dose_text(curve(1.0))
    assert "go unseen" not in dose_text(curve(1.0))
    assert "did not even tell base from the floor" in dose_text(curve(None))
    assert "these weights are no scale" in dose_text(curve(0.5, falls=False))


def test_doses_and_what_could_not_be_done_are_shown_where_there_are_any() -> None:
    found = metrics().model_copy(
        update={"dose_response": {"new_form": curve(0.5)}, "not_made": {"adapter_off": HOSTILE}}
    )
    page = render_page(found, "Mira Kestrel", config(), {})
    console = Console(file=io.StringIO(), width=160)
    print_metrics(found.model_dump(mode="json"), console)
    for shown in (read(page).text, console.file.getvalue()):  # type: ignore[attr-defined]
        shown = shown.replace("\N{NO-BREAK SPACE}", " ")
        assert "adapter_off: <script>" in shown
        assert "25 % of the way from base" in shown
        assert "+0.31 (+0.21 to +0.41)" in " ".join(shown.split())
        assert "smallest leak that this probe detected" in " ".join(shown.split())
    assert read(page).tags.count("script") == 2
    assert page.count('<g class="bar-unlearned"><title>') == 3 + 1 + 5
    assert "50\N{NO-BREAK SPACE}% of the way from base, unlearned: 31.0%" in page
    plain = read(render_page(metrics(), "t", config(), {})).text
    assert "of the way from base" not in plain
    assert "could not be made" not in plain
