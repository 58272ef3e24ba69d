"""Reads every white-box score from every model, one model in memory at a time, and keeps each row's reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concept_forget.engines.opening import open_engine
from concept_forget.measures.metrics import ConceptWhiteBox, WhiteBox
from concept_forget.probe.white_box.memory import measure_utility
from concept_forget.probe.white_box.registry import Item, View, WhiteBoxAttack
from concept_forget.records import ModelSpec
from concept_forget.workspace import Costs, write_text


def measure_white_box(
    attacks: Sequence[WhiteBoxAttack],
    models: Mapping[str, ModelSpec],
    view: View,
    folder: Path,
    *,
    cache: Path,
    costs: Costs,
    batch_tokens: int,
) -> WhiteBox:
    """Read the scores and measure them; ``NAME.jsonl`` of an attack that is there already is read instead.

    Args:
        attacks: What is read.
        models: ``base``, ``unlearned`` and, where there is one, ``reference``.
        view: The rows.
        folder: The stage's folder.
        cache: The request cache.
        costs: The account.
        batch_tokens: Padded tokens that a batch may hold.

    Raises:
        CapabilityError: An engine cannot score given tokens, or look inside its model.
        DataError: A row does not fit in a model's context.
        ModelError: The lens does not fit a model.
    """
    missing = [attack for attack in attacks if not _file(folder, attack).is_file()]
    fresh: dict[str, list[Item]] = {attack.name: [] for attack in missing}
    for model, spec in models.items() if missing else ():
        engine = open_engine(spec, cache=cache, costs=costs, batch_tokens=batch_tokens)
        try:
            for attack in missing:
                fresh[attack.name] += [{"model": model, **item} for item in attack.read(engine, view)]
        finally:
            engine.close()
    for attack in missing:
        lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in fresh[attack.name])
        write_text(_file(folder, attack), "".join(lines))
    return count_readings(attacks, view, {attack.name: _read(_file(folder, attack), models) for attack in attacks})


def count_readings(
    attacks: Sequence[WhiteBoxAttack], view: View, readings: Mapping[str, Mapping[str, list[Item]]]
) -> WhiteBox:
    """What readings say.

    Args:
        attacks: What was read.
        view: The rows.
        readings: Attack → model → what was read of each row.
    """
    results: dict[str, dict[str, Any]] = {}
    utility = None
    for attack in attacks:
        for concept, result in attack.measure(view, readings[attack.name]).items():
            results.setdefault(concept, {})[attack.name] = result
        if attack.name == "memory":
            utility = measure_utility(readings[attack.name])
    return WhiteBox(
        concepts={concept: ConceptWhiteBox(**found) for concept, found in results.items()},
        utility=utility,
    )


def _file(folder: Path, attack: WhiteBoxAttack) -> Path:
    return folder / f"{attack.name}.jsonl"


def _read(path: Path, models: Mapping[str, ModelSpec]) -> dict[str, list[Item]]:
    readings: dict[str, list[Item]] = {model: [] for model in models}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            readings.setdefault(item["model"], []).append(item)
    return readings
