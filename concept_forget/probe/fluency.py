"""Whether a model that forgot still talks sense: perplexity of its replies under the base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Request
from concept_forget.measures.memory import perplexity
from concept_forget.records import Attempt, ModelSpec
from concept_forget.workspace import Costs, read_json, write_json

ATTACKS = ("direct", "paraphrase")
"""Attacks whose replies are free text: the others put words into the model's mouth."""


def measure_fluency(
    attempts: Sequence[Attempt],
    base: ModelSpec,
    models: Sequence[str],
    folder: Path,
    *,
    cache: Path,
    costs: Costs,
    batch_tokens: int,
) -> Mapping[str, float | None]:
    """Perplexity of each model's replies to the forget questions, under the base model, given the question.

    exp of minus the mean log-probability over all tokens of all replies, the end of the turn among them, so that an
    empty reply or one without end costs what base thinks of it. Base knows the answer, so a wrong one is unlikely
    under it however well it is put: the number to compare with is the reference's, not base's own.

    A file ``fluency.json`` that is there already is read instead.
    """
    path = folder / "fluency.json"
    if path.is_file():
        found: dict[str, float | None] = read_json(path)
        return found
    wanted = [attempt for attempt in attempts if attempt.attack in ATTACKS and attempt.model in models]
    engine = open_engine(base, cache=cache, costs=costs, batch_tokens=batch_tokens)
    try:
        scores = engine.score(
            [(Request(prompt=attempt.prompt, prefill=attempt.prefill), attempt.reply) for attempt in wanted]
        )
    finally:
        engine.close()
    result = {}
    for model in models:
        replies = [score.logprobs for attempt, score in zip(wanted, scores, strict=True) if attempt.model == model]
        result[model] = round(perplexity(replies), 6) if replies else None
    write_json(path, result)
    return result
