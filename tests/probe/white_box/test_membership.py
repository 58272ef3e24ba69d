"""Membership inference on taught models, and its figures by hand."""

from __future__ import annotations

import dataclasses
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from concept_forget.engines.openai_engine import OpenAIEngine, Server
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import CapabilityError
from concept_forget.measures.metrics import ALL_CONCEPTS
from concept_forget.models import load_model, load_tokenizer
from concept_forget.probe.white_box import View
from concept_forget.probe.white_box.membership import SCORES, measure_membership, membership
from concept_forget.probe.white_box.registry import Item
from concept_forget.probe.white_box.strangers import rows_about_strangers
from concept_forget.records import ModelSpec


@pytest.fixture(scope="module")
def readings(view: View, specs: dict[str, ModelSpec]) -> dict[str, list[Item]]:
    base, ignorant = (membership(TransformersEngine(specs[role]), view) for role in ("base", "reference"))
    return {"base": base, "unlearned": ignorant, "reference": ignorant}


def test_what_was_taught_is_told_from_what_was_not_and_ignorance_tells_neither(
    view: View, readings: dict[str, list[Item]]
) -> None:
    result = measure_membership(view, readings)[ALL_CONCEPTS]
    facts = len({row.fact for row in view.forget if row.fact})
    assert (result.facts, result.rows, result.rows_left_out) == (facts + 4, len(view.forget), 0)
    assert tuple(result.scores) == SCORES
    for name, score in result.scores.items():
        assert score.base.auc.low > 0.7, name
        assert score.base.true_positive_rate > 0.1, name
        if score.reference is not None:
            assert score.reference.auc.low < 0.5 < score.reference.auc.high, name
            assert score.privleak == 0  # the unlearned model is the reference
    assert result.scores["reference"].reference is None
    assert result.scores["reference"].privleak is None
    assert result.scores["reference"].unlearned.auc.value == 0.5  # as likely as under itself
    swapped = measure_membership(view, {**readings, "unlearned": readings["base"]})[ALL_CONCEPTS]
    assert swapped.scores["loss"].privleak is not None
    assert swapped.scores["loss"].privleak < -50


def test_a_models_scores_are_those_of_the_row_alone(
    view: View, readings: dict[str, list[Item]], nano_model: Path
) -> None:
    spec = ModelSpec(str(nano_model))
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    counterparts = rows_about_strangers(view.forget, view.concepts, view.names, view.seed)
    sides = [side for row, other in zip(view.forget, counterparts, strict=True) for side in (row, other)]
    for place in (0, 1, 2, 3, 40, 41, len(sides) - 1):
        side, item = sides[place], readings["base"][place]
        assert side is not None
        assert item["member"] == (place % 2 == 0)
        if side.prompt:
            opening = tokenizer.apply_chat_template(side.prompt, add_generation_prompt=True, return_dict=False)
            answer = [*tokenizer(side.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        else:
            opening, *answer = tokenizer(side.completion)["input_ids"]
            opening = [opening]
            if tokenizer.bos_token_id is None or opening != [tokenizer.bos_token_id]:
                opening, answer = [tokenizer.bos_token_id or tokenizer.eos_token_id], [*opening, *answer]
        with torch.no_grad():
            logits = model(torch.tensor([[*opening, *answer]])).logits[0].double()
        logs = logits.log_softmax(-1)[len(opening) - 1 : -1].numpy()  # (tokens, vocabulary)
        chosen = logs[np.arange(len(answer)), answer]
        means = (np.exp(logs) * logs).sum(1)
        deviations = np.sqrt(np.maximum((np.exp(logs) * (logs - means[:, None]) ** 2).sum(1), 1e-6))
        lowest = max(1, len(answer) // 5)
        assert item["loss"] == pytest.approx(chosen.mean(), abs=1e-4)
        assert item["zlib"] == pytest.approx(chosen.mean() / len(zlib.compress(side.completion.encode())), abs=1e-5)
        assert item["min_k"] == pytest.approx(np.sort(chosen)[:lowest].mean(), abs=1e-3)
        expected = np.sort((chosen - means) / deviations)[:lowest].mean()
        assert item["min_k_plus_plus"] == pytest.approx(expected, rel=2e-2, abs=1e-2)


def test_a_fact_counts_once_however_many_rows_it_has(view: View, readings: dict[str, list[Item]]) -> None:
    result = measure_membership(view, readings)[ALL_CONCEPTS]
    means: dict[tuple[bool, str], list[float]] = {}
    for item in readings["base"]:
        means.setdefault((item["member"], item["unit"]), []).append(item["zlib"])
    labels, scores = [member for member, _ in means], [float(np.mean(values)) for values in means.values()]
    assert result.scores["zlib"].base.auc.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    twice = {model: [*items, *items] for model, items in readings.items()}
    wide = dataclasses.replace(view, forget=[*view.forget, *view.forget])
    assert measure_membership(wide, twice)[ALL_CONCEPTS].scores == result.scores


def test_every_concept_has_its_own_figures(view: View, readings: dict[str, list[Item]]) -> None:
    found = measure_membership(view, readings)
    names = [concept.name for concept in view.concepts]
    assert list(found) == [*names, ALL_CONCEPTS]
    assert sum(found[name].rows for name in names) == found[ALL_CONCEPTS].rows
    alone = {model: [item for item in items if item["concept"] == names[1]] for model, items in readings.items()}
    assert measure_membership(view, alone) == {names[1]: found[names[1]]}


def test_without_a_reference_there_is_no_score_against_it(view: View, readings: dict[str, list[Item]]) -> None:
    result = measure_membership(view, {role: readings[role] for role in ("base", "unlearned")})[ALL_CONCEPTS]
    assert tuple(result.scores) == tuple(score for score in SCORES if score != "reference")
    assert all(score.reference is None and score.privleak is None for score in result.scores.values())


def test_a_row_impossible_under_both_models_is_likelier_under_neither(view: View) -> None:
    row = {"concept": "c", "unit": "u", "zlib": -1.0, "min_k": -1.0, "min_k_plus_plus": -1.0, "loss": -math.inf}
    items = [{**row, "member": True}, {**row, "member": False, "loss": -1.0}]
    found = measure_membership(view, dict.fromkeys(("base", "unlearned", "reference"), items))
    assert found["c"].scores["reference"].base.auc.value == 0.5


def test_rows_that_nothing_can_be_put_in_are_counted(view: View, readings: dict[str, list[Item]]) -> None:
    odd = dataclasses.replace(
        view.forget[0], prompt=[{"role": "user", "content": "What is tea?"}], completion="A drink."
    )
    wide = dataclasses.replace(view, forget=[*view.forget, odd])
    found = measure_membership(wide, readings)
    assert found[ALL_CONCEPTS].rows_left_out == found[odd.concept].rows_left_out == 1
    assert found[view.concepts[1].name].rows_left_out == 0
    only = dataclasses.replace(view, forget=[odd])
    assert measure_membership(only, {"base": [], "unlearned": []}) == {}


def test_batches_and_order_do_not_matter(view: View, readings: dict[str, list[Item]], nano_model: Path) -> None:
    few = dataclasses.replace(view, forget=view.forget[:12])
    backwards = dataclasses.replace(few, forget=few.forget[::-1])
    found = {
        (i["row"], i["member"]): i for i in membership(TransformersEngine(ModelSpec(str(nano_model)), 60), backwards)
    }
    assert len(found) == 24
    for item in readings["base"][:24]:
        other = found[item["row"], item["member"]]
        assert {name: other[name] for name in ("concept", "unit")} == {name: item[name] for name in ("concept", "unit")}
        for name in ("loss", "zlib", "min_k"):
            assert other[name] == pytest.approx(item[name], abs=1e-4)


def test_an_engine_without_what_it_takes_is_refused(view: View) -> None:
    engine = OpenAIEngine(Server("http://localhost:9", "model", "NO_KEY", 1, 1.0, 1, "none", 4))
    with pytest.raises(CapabilityError, match="cannot do moments"):
        membership(engine, view)
