"""The table of white-box scores: complete, in words, and beside the verdict rather than in it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from concept_forget.config import Config
from concept_forget.measures.metrics import (
    AttackResult,
    ByModel,
    ConceptResult,
    ConceptWhiteBox,
    Cost,
    Estimate,
    Floor,
    LensLayer,
    LensModel,
    LensResult,
    MembershipResult,
    MembershipScore,
    MemoryResult,
    MemoryScore,
    Metrics,
    Rate,
    Separation,
    TierResult,
    Utility,
    VerdictResult,
    WhiteBox,
)
from concept_forget.probe.white_box.membership import SCORES as MEMBERSHIP
from concept_forget.probe.white_box.memory import SCORES as MEMORY
from concept_forget.report.page import render_page
from concept_forget.report.terminal import print_metrics
from concept_forget.report.white_box import white_box_rows

NAME = "Mira [bold]Kestrel <i>"


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


def separation(auc: float) -> Separation:
    return Separation(auc=estimate(auc), true_positive_rate=0.25)


def lens_model(best: int) -> LensModel:
    layers = [
        LensLayer(probability=0.8 if layer == best else 0.1, rank=layer, first=estimate(0.3 + layer / 10))
        for layer in range(4)
    ]
    return LensModel(layers=layers, best_layer=best)


def white_box(*, reference: bool = True) -> WhiteBox:
    membership = MembershipResult(
        facts=20,
        rows=55,
        rows_left_out=3,
        scores={
            name: MembershipScore(
                base=separation(0.97),
                unlearned=separation(0.61),
                reference=separation(0.52) if reference and name != "reference" else None,
                privleak=-18.75 if reference and name != "reference" else None,
            )
            for name in MEMBERSHIP
            if reference or name != "reference"
        },
    )
    memory = MemoryResult(
        scores={
            name: MemoryScore(
                facts=20, base=estimate(0.9), unlearned=estimate(0.2), reference=estimate(0.1) if reference else None
            )
            for name in MEMORY
        },
        ngram_entropy=ByModel(base=2.5, unlearned=None, reference=2.25 if reference else None),
        forget_quality=0.034 if reference else None,
    )
    lens = LensResult(
        facts=20, base=lens_model(3), unlearned=lens_model(2), reference=lens_model(1) if reference else None
    )
    found = ConceptWhiteBox(
        membership=membership,
        lens={"new_fact": lens, "new_form": lens},
        memory={"new_fact": memory, "new_form": memory},
    )
    value = ByModel(base=0.95, unlearned=0.9, reference=0.94 if reference else None)
    return WhiteBox(concepts={NAME: found}, utility=Utility(value=value, parts={"near probability": value}))


def metrics(white_box: WhiteBox | None) -> Metrics:
    rate = Rate(rate=0.1, low=0.0, high=0.2, n=20, attempts=20)
    tier = TierResult(
        base=rate, unlearned=rate, reference=None, floor=Floor(kind="strangers", rate=0, low=0, high=1, n=0),
        residual=None, worst_form=ByModel(base=1, unlearned=1),
    )  # fmt: skip
    attacks = {"direct": AttackResult(family="asking", tiers={"new_form": tier})}
    return Metrics(
        concepts={NAME: ConceptResult(attacks=attacks, worst_attack=None, residual=None)},
        collateral={},
        fluency=ByModel(base=1.0, unlearned=1.0),
        verdict=VerdictResult(outcome="passed", reasons=["as it should be"], facts_needed=None),
        white_box=white_box,
        cost=Cost(seconds={}, flops={}, peak_memory_bytes={}, ratio_to_retrain=None),
    )


def page(white_box: WhiteBox | None) -> str:
    config = Config.model_validate({"concepts": [{"name": NAME}], "target": "some/model"})
    return render_page(metrics(white_box), "t", config, {})


def printed(white_box: WhiteBox | None) -> str:
    console = Console(record=True, width=220, file=io.StringIO())
    print_metrics(metrics(white_box).model_dump(mode="json"), console)
    return console.export_text()


def test_every_score_has_a_line_that_says_what_it_is_and_names_a_paper() -> None:
    rows = white_box_rows(white_box(), NAME)
    assert len(rows) == 3 * len(MEMBERSHIP) - 1 + 2 * 3 + 2 * (len(MEMORY) + 2) + 1
    assert all(row.says.endswith(".") for row in rows)
    for name in (*MEMBERSHIP, *MEMORY):
        label = name.replace("rouge_l", "ROUGE-L").replace("rouge_1", "ROUGE-1").replace("_", " ")
        assert [row for row in rows if row.score.startswith(label)], name
    sources = [row.says for row in rows if not row.score.startswith(("probability of", "rank of"))]
    assert all("20" in says or "TOFU" in says or "The same" in says or "share" in says for says in sources)
    groups = list(dict.fromkeys(row.group.split(" (")[0] for row in rows))
    assert groups == [
        "membership: 20 facts to forget against as many about somebody invented",
        "logit lens: trained facts, new forms", "logit lens: facts never trained on",
        "memory: trained facts, new forms", "memory: facts never trained on", "neighbours",
    ]  # fmt: skip


def test_the_cells_are_the_figures() -> None:
    by_score = {row.score: row for row in white_box_rows(white_box(), NAME)}
    loss = by_score["loss: AUC"]
    assert (loss.base, loss.unlearned, loss.reference) == (
        "0.97 (0.87 to 1.07)", "0.61 (0.51 to 0.71)", "0.52 (0.42 to 0.62)",
    )  # fmt: skip
    assert by_score["loss: PrivLeak"].unlearned == "-19"
    assert by_score["loss: found"].base == "25\N{NO-BREAK SPACE}%"
    assert by_score["reference: AUC"].reference == "–"
    assert "55 rows each, 3 left out" in loss.group
    likely = by_score["probability of the first token"]
    assert (likely.base, likely.unlearned, likely.reference) == ("0.80 (layer 3)", "0.80 (layer 2)", "0.80 (layer 1)")
    assert by_score["rank of the first token"].unlearned == "2"
    assert by_score["first token at the top"].reference == "0.40 (0.30 to 0.50)"
    assert by_score["forget quality"].unlearned == "0.034"
    assert (by_score["n-gram entropy"].base, by_score["n-gram entropy"].unlearned) == ("2.50", "–")
    assert by_score["model utility"].unlearned == "0.90"
    assert white_box_rows(WhiteBox(concepts={}), NAME) == []


@pytest.mark.parametrize("reference", [True, False])
def test_terminal_and_page_show_every_line(reference: bool) -> None:
    rows = white_box_rows(white_box(reference=reference), NAME)
    shown, written = printed(white_box(reference=reference)), page(white_box(reference=reference))
    for row in rows:
        assert row.score in shown
        assert f'<th scope="row">{row.score}</th>' in written
    assert written.count('<th scope="rowgroup" colspan="5"') == len({row.group for row in rows})
    assert "<i>" not in written
    assert "Mira [bold]Kestrel <i>" in shown
    assert written.index("Passed") < written.index("What can be read from the weights")


def test_nothing_is_said_of_scores_that_nobody_asked_for() -> None:
    assert "What can be read from the weights" not in page(None)
    assert "White-box" not in printed(None)
