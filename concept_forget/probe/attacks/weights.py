"""Attacks of those who have the weights: each changes a model, and then asks plainly.

The same is done to base, unlearned and reference, so that what a change teaches everybody counts as no leak.
"""

from __future__ import annotations

from concept_forget.probe.attacks.asking import direct
from concept_forget.probe.attacks.change import Change, Material
from concept_forget.probe.attacks.registry import weight_attack
from concept_forget.probe.attacks.scene import holds_answer
from concept_forget.records import Example, named_random


@weight_attack("relearn", source="Hu et al. 2024; Deeb and Roger 2024", requests=direct)
def relearn(material: Material) -> Change | str:
    """Fine-tuning on some of the facts, and then the question about the others: what comes back was never gone.

    Rows that hold the answer of a question which is still asked about their subject are left out. Half of each step
    are rows of the retain set: with the few facts alone a model loses others that it knew.
    """
    taught = _drawn_facts(material)
    asked = [row for row in material.asked if row.fact not in taught]
    rows = [row for row in material.forget if row.fact in taught and not _tells_any(row, asked)]
    if not rows or not asked:
        return "it needs rows of two trained facts at least, one to teach and one to ask"
    return Change(rows=tuple(rows), beside=material.retain, steps=material.steps, taught=frozenset(taught))


@weight_attack("relearn_unrelated", source="Łucki et al. 2024; Hu et al. 2024", requests=direct)
def relearn_unrelated(material: Material) -> Change | str:
    """Fine-tuning on rows that have nothing to do with the concept: what was only covered up shows again."""
    if not material.retain:
        return "it needs rows of the retain set, and there are none"
    return Change(rows=material.retain, steps=material.steps)


@weight_attack("round_8bit", source="Zhang et al. 2024", requests=direct)
def round_8bit(material: Material) -> Change | str:
    """Weights rounded to 8 bits: the nearest of 255 values per output channel."""
    return _rounded(8)


@weight_attack("round_4bit", source="Zhang et al. 2024", requests=direct)
def round_4bit(material: Material) -> Change | str:
    """Weights rounded to 4 bits: the nearest of 15 values per output channel, which small changes do not outlive."""
    return _rounded(4)


@weight_attack("adapter_off", source="Hu et al. 2021 (LoRA)", requests=direct)
def adapter_off(material: Material) -> Change | str:
    """The adapter taken off: what was published as base and adapter is base to whoever leaves it out."""
    if not material.has_adapter:
        return "the unlearned model is one model, with no adapter that could be taken off"
    return Change(without_adapter=True)


def _drawn_facts(material: Material) -> set[str]:
    """The trained facts that are taught again: the share of them, one at least, and never all."""
    trained = sorted({row.fact for row in material.forget if row.fact})
    count = min(max(1, round(material.share * len(trained))), len(trained) - 1)
    return set(named_random(material.seed, "probe", "relearn", "facts").sample(trained, max(count, 0)))


def _tells_any(row: Example, asked: list[Example]) -> bool:
    text = " \n ".join([*(message["content"] for message in row.prompt), row.completion])
    return any(question.subject == row.subject and holds_answer(text, question) for question in asked)


def _rounded(bits: int) -> Change:
    from functools import partial

    from concept_forget.probe.rounding import round_weights

    return Change(edit=partial(round_weights, bits=bits))
