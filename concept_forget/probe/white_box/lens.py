"""The logit lens: at which layer the answer shows, though the model may not say it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from concept_forget.engines.cache import CachedEngine
from concept_forget.engines.protocol import Engine, Request, check_capabilities
from concept_forget.measures.metrics import LensLayer, LensModel, LensResult
from concept_forget.measures.rates import estimate_of
from concept_forget.measures.statistics import rate_interval
from concept_forget.probe.white_box.registry import Item, Readings, View, by_concept, by_tier, white_box

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenRow = tuple[Sequence[int], int]
"""Token ids, and how many of them are given."""


def measure_lens(view: View, readings: Readings) -> dict[str, dict[str, LensResult]]:
    """Layer by layer, by concept and tier; facts are the unit."""
    models = {model: by_concept(items) for model, items in readings.items()}
    results: dict[str, dict[str, LensResult]] = {}
    for concept in models["base"]:
        tiers = {model: by_tier(found[concept]) for model, found in models.items()}
        results[concept] = {
            tier: LensResult(
                facts=len({item["fact"] for item in items}),
                base=_model(items),
                unlearned=_model(tiers["unlearned"][tier]),
                reference=_model(tiers["reference"][tier]) if "reference" in tiers else None,
            )
            for tier, items in tiers["base"].items()
        }
    return results


def _model(items: Sequence[Item]) -> LensModel:
    layers = [_layer(items, layer) for layer in range(len(items[0]["probabilities"]))]
    best = max(range(len(layers)), key=lambda layer: (layers[layer].probability, -layer))
    return LensModel(layers=layers, best_layer=best)


def _layer(items: Sequence[Item], layer: int) -> LensLayer:
    facts: dict[str, list[Item]] = {}
    for item in items:
        facts.setdefault(item["fact"], []).append(item)

    def means(values: Sequence[Sequence[float]]) -> list[float]:
        return [statistics.fmean(found) for found in values]

    first = rate_interval(means([[float(item["ranks"][layer] == 0) for item in found] for found in facts.values()]))
    return LensLayer(
        probability=statistics.fmean(means([[i["probabilities"][layer] for i in found] for found in facts.values()])),
        rank=statistics.median(means([[i["ranks"][layer] for i in found] for found in facts.values()])),
        first=estimate_of(first),
    )


@white_box("lens", source="nostalgebraist 2020; Patil et al. 2024, §4", measure=measure_lens)
def lens(engine: Engine, view: View) -> list[Item]:
    """At which layer the answer's first token shows: every layer's state through the final norm and the unembedding.

    Read at the place before the answer, of the plain questions of the probe.
    """
    check_capabilities(engine, "hidden", [])
    from concept_forget.engines.transformers_engine import TransformersEngine
    from concept_forget.engines.workers_engine import WorkersEngine
    from concept_forget.probe.white_box.layers import LayerReading, read_layers

    inner = engine.inner if isinstance(engine, CachedEngine) else engine
    inner = inner.here if isinstance(inner, WorkersEngine) else inner
    assert isinstance(inner, TransformersEngine)  # the only one with that capability
    rows = view.direct
    lengths: list[int] = []

    def look(model: PreTrainedModel, tokens: Sequence[TokenRow], filler: int) -> list[LayerReading]:
        lengths.extend(given for _, given in tokens)
        return read_layers(model, tokens, filler)

    found = inner.look_inside([(Request(prompt=row.prompt), row.completion) for row in rows], look)
    if isinstance(engine, CachedEngine):
        engine.spend(sum(lengths))
    return [
        {
            "row": row.id,
            "concept": row.concept,
            "tier": row.tier,
            "fact": row.fact,
            "probabilities": reading.probabilities,
            "ranks": reading.ranks,
        }
        for row, reading in zip(rows, found, strict=True)
    ]
