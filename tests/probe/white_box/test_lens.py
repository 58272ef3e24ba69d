"""The lens on taught models: what knows the answers says them at the last layer, and what never learned them does not."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest

from concept_forget.engines.openai_engine import OpenAIEngine, Server
from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import CapabilityError
from concept_forget.measures.metrics import ALL_CONCEPTS
from concept_forget.probe.white_box import View
from concept_forget.probe.white_box.lens import lens, measure_lens
from concept_forget.probe.white_box.registry import Item
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs


@pytest.fixture(scope="module")
def readings(
    view: View, specs: dict[str, ModelSpec], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Item]]:
    found, cache = {}, tmp_path_factory.mktemp("lens") / "replies.sqlite"
    for role in ("base", "reference"):
        engine = open_engine(specs[role], cache=cache, costs=Costs(), batch_tokens=4096)
        found[role] = lens(engine, view)
        engine.close()
    return {**found, "unlearned": found["reference"]}


def test_what_knows_says_it_at_the_last_layer(view: View, readings: dict[str, list[Item]]) -> None:
    found = measure_lens(view, readings)
    assert set(found) == {*(concept.name for concept in view.concepts), ALL_CONCEPTS}
    result = found[ALL_CONCEPTS]["new_form"]
    assert result.facts == len({row.fact for row in view.direct})
    assert len(result.base.layers) == 4  # the embeddings and three layers
    last = result.base.layers[-1]
    assert result.base.best_layer == 3
    assert last.first.value > 0.9
    assert last.first.low > 0.7
    assert last.rank == 0
    assert last.probability > 0.8
    assert result.base.layers[0].first.value < 0.2
    assert result.reference is not None
    assert max(layer.first.value for layer in result.reference.layers) < 0.5
    assert result.unlearned == result.reference


def test_the_figures_are_those_of_the_readings(view: View, readings: dict[str, list[Item]]) -> None:
    name = view.concepts[0].name
    items = [item for item in readings["base"] if item["concept"] == name]
    layers = measure_lens(view, readings)[name]["new_form"].base.layers
    for place, layer in enumerate(layers):
        assert layer.probability == pytest.approx(statistics.fmean(i["probabilities"][place] for i in items), abs=1e-9)
        assert layer.rank == statistics.median(i["ranks"][place] for i in items)
        assert layer.first.value == pytest.approx(statistics.fmean(i["ranks"][place] == 0 for i in items), abs=1e-9)
    twice = {model: [*found, *found] for model, found in readings.items()}  # a fact asked twice is one fact
    assert measure_lens(view, twice) == measure_lens(view, readings)


def test_the_last_layer_is_what_the_model_says(view: View, readings: dict[str, list[Item]], nano_model: Path) -> None:
    engine = TransformersEngine(ModelSpec(str(nano_model)))
    replies = engine.generate([Request(row.prompt) for row in view.direct], Sampling(max_new_tokens=24))
    scores = engine.score([(Request(row.prompt), row.completion) for row in view.direct])
    right = 0
    for row, item, (reply,), score in zip(view.direct, readings["base"], replies, scores, strict=True):
        assert item["ranks"][-1] == score.ranks[0]
        if reply.text == row.completion:
            right += 1
            assert item["ranks"][-1] == 0
    assert right > 10


def test_batches_and_order_do_not_matter(view: View, readings: dict[str, list[Item]], nano_model: Path) -> None:
    backwards = dataclasses.replace(view, probe=view.probe[::-1])
    for item, other in zip(
        lens(TransformersEngine(ModelSpec(str(nano_model)), 64), backwards)[::-1], readings["base"], strict=True
    ):
        assert (item["row"], item["ranks"]) == (other["row"], other["ranks"])
        assert item["probabilities"] == pytest.approx(other["probabilities"], rel=1e-4)


def test_an_engine_that_cannot_look_inside_its_model_is_refused(view: View) -> None:
    engine = OpenAIEngine(Server("http://localhost:9", "model", "NO_KEY", 1, 1.0, 1, "none", 4))
    with pytest.raises(CapabilityError, match="cannot do hidden"):
        lens(engine, view)
