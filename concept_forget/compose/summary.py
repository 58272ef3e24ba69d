"""What the sets came to, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from concept_forget.compose.dataset import SPLITS
from concept_forget.compose.entities import DISTANCES
from concept_forget.compose.forget_sources import ForgetSet
from concept_forget.compose.grounding import GROUNDINGS
from concept_forget.compose.likeness import NEARLY_ASKED
from concept_forget.compose.proof import RoundDivision
from concept_forget.compose.rows import row_text
from concept_forget.compose.sets import Sets
from concept_forget.compose.two_hop import TWO_HOP
from concept_forget.compose.verbatim import FAMILY as COMPLETION
from concept_forget.compose.wording import holds_any
from concept_forget.config import Config
from concept_forget.records import Example, Fact, to_json

ATTACKS = ("direct", "paraphrase", "reverse", "cloze", "choice")
"""What every run asks; other families are told of where the probe has rows of theirs."""


def summarise(sets: Sets, config: Config, walls: Mapping[str, object]) -> dict[str, object]:
    """The summary of the stage.

    Args:
        sets: The sets.
        config: The whole config.
        walls: The proof of the walls.
    """
    tiers = _count_tiers(sets)
    return {
        "facts": _count_facts(sets),
        "rows": {split: _count_rows(sets.rows[split]) for split in SPLITS},
        **({"forget_set": _describe_choice(sets.chosen, config)} if sets.chosen else {}),
        **({"round": _describe_round(sets, sets.division.round)} if sets.division.round else {}),
        "tiers": tiers,
        "knowledge": _count_known(sets, config),
        **_count_kinds(sets, config),
        "entities": _count_entities(sets, config),
        "walls": walls,
        "rejected": sets.rejections.summary(),
        "notes": [
            *_entity_notes(sets, config),
            *_tier_notes(tiers, config),
            *_untrained_notes(sets),
            *_choice_notes(sets),
        ],
    }


def fact_lines(sets: Sets) -> list[dict[str, Any]]:
    """Every fact with the set it fell into, whether the base model knows it, and whether mined text bears it out.

    None: not asked. Mined text is held against generated facts of the concepts, where there is any about them.
    """
    lines = [
        {
            **to_json(fact),
            "split": sets.division.roles[fact.id],
            "known": sets.known.get(fact.id),
            "grounding": sets.grounding.get(fact.id),
        }
        for fact in sets.division.facts
    ]
    shares = sets.shares
    for split, entities in (
        ("retain", shares.retain),
        ("retain validation", shares.validation),
        ("collateral", shares.collateral),
    ):
        lines += [_line(fact, split) for entity in entities for fact in entity.facts]
    lines += [_line(fact, "retain") for fact in shares.kept]
    return [*lines, *(_line(fact, "collateral") for fact in shares.kept_asked)]


def _line(fact: Fact, split: str) -> dict[str, Any]:
    return {**to_json(fact), "split": split, "known": None, "grounding": None}


def _count_kinds(sets: Sets, config: Config) -> dict[str, dict[str, int]]:
    """The kinds of item that not every run has: each part only where there is something to count."""
    shares, probe, forget, retain = sets.shares, sets.rows["probe"], sets.rows["forget"], sets.rows["retain"]
    texts = {row.fact for row in probe if row.family == COMPLETION}
    hops = [row for row in probe if row.tier == TWO_HOP]
    replaced = [fact for fact in sets.division.facts if fact.replacement]
    written = [row.split for row in (*forget, *retain) if not sets.written.isdisjoint(row.parents)]
    counted: dict[str, dict[str, int]] = {
        "grounding": {answer: list(sets.grounding.values()).count(answer) for answer in GROUNDINGS},
        "kept_scope": {"trained": len(shares.kept), "collateral": len(shares.kept_asked)},
        "written_passages": {"forget": written.count("forget"), "retain": written.count("retain")},
        "two_hop": {"facts": len({row.fact for row in hops}), "rows": len(hops)},
        "verbatim": {"texts": len(texts), "rows": sum(row.family == COMPLETION for row in probe)},
        "replacement": {
            "facts": len(replaced),
            "rows": sum(row.counterfactual in _new_answers(row, replaced) for row in (*forget, *probe)),
        },
    }
    found = {name: counts for name, counts in counted.items() if any(counts.values())}
    if config.compose.near_duplicates is not None:
        found["near_duplicates"] = {
            split: sets.rejections.count(f"{split}: {NEARLY_ASKED}") for split in ("forget", "retain")
        }
    return found


def _new_answers(row: Example, replaced: Sequence[Fact]) -> set[str]:
    return {fact.replacement for fact in replaced if fact.id == row.fact}


def _count_facts(sets: Sets) -> dict[str, object]:
    division = sets.division
    by_concept = {
        concept.name: dict(
            sorted(Counter(division.roles[fact.id] for fact in division.facts if fact.concept == concept.name).items())
        )
        for concept in division.concepts
    }
    counts = Counter(division.roles.values())
    return {
        "total": len(division.facts),
        **{role: counts[role] for role in ("trained", "validation", "new_fact")},
        "trained_on_nothing": len(sets.untrained),
        "by_concept": by_concept,
    }


def _count_rows(rows: Sequence[Example]) -> dict[str, object]:
    return {
        "total": len(rows),
        "by_family": _counts(row.family for row in rows),
        "by_source": _counts(row.source for row in rows),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _count_tiers(sets: Sets) -> dict[str, dict[str, dict[str, int]]]:
    """Facts and rows of the probe by tier and attack, after the knowledge filter and before it."""
    filtered = sets.rows["probe"]
    tiers: dict[str, dict[str, dict[str, int]]] = {}
    for tier in dict.fromkeys(row.tier for row in sets.unfiltered):
        tiers[tier] = {}
        found = dict.fromkeys(row.family for row in sets.unfiltered if row.tier == tier)
        asked = [] if tier == TWO_HOP else list(ATTACKS)
        for attack in (*asked, *(family for family in found if family not in ATTACKS)):
            after = [row for row in filtered if (row.tier, row.family) == (tier, attack)]
            before = [row for row in sets.unfiltered if (row.tier, row.family) == (tier, attack)]
            tiers[tier][attack] = {
                "facts": len({row.fact for row in after}),
                "rows": len(after),
                "facts_unfiltered": len({row.fact for row in before}),
                "rows_unfiltered": len(before),
            }
    return tiers


def _count_known(sets: Sets, config: Config) -> dict[str, object]:
    probed = dict.fromkeys(row.fact for row in sets.unfiltered if row.family != COMPLETION)
    return {
        "filtered": config.compose.knowledge_filter,
        "facts": len(probed),
        "known": sum(sets.known.get(fact) is True for fact in probed),
        "unknown": sum(sets.known.get(fact) is False for fact in probed),
        "not_asked": sum(fact not in sets.known for fact in probed),
        "rows": len(sets.rows["probe"]),
        "rows_unfiltered": len(sets.unfiltered),
    }


def _count_entities(sets: Sets, config: Config) -> dict[str, object]:
    shares = sets.shares
    return {
        "retain": len(shares.retain),
        "validation": len(shares.validation),
        "validation_wanted": config.compose.validation_neighbours if config.compose.holdout else 0,
        "collateral": {
            distance: sum(entity.distance == distance for entity in shares.collateral) for distance in DISTANCES
        },
        "collateral_wanted": {distance: config.compose.collateral.get(distance, 0) for distance in DISTANCES},
        "collateral_names": [entity.name for entity in shares.collateral],
    }


def _entity_notes(sets: Sets, config: Config) -> list[str]:
    notes = []
    shares = sets.shares
    for distance in DISTANCES:
        wanted = config.compose.collateral.get(distance, 0)
        drawn = sum(entity.distance == distance and entity.source == "generated" for entity in shares.collateral)
        if drawn < wanted and not any(entity.source == "user" for entity in shares.collateral):
            known = sum(
                entity.distance == distance and entity.source == "generated"
                for entity in (*shares.retain, *shares.validation, *shares.collateral)
            )
            notes.append(
                f"collateral, {distance}: {wanted} entities were asked for, {drawn} of {known} were taken, "
                "since half of them are left to train on"
            )
    if config.compose.holdout and len(shares.validation) < config.compose.validation_neighbours:
        notes.append(
            f"validation: {config.compose.validation_neighbours} neighbours were asked for, "
            f"{len(shares.validation)} could be spared"
        )
    for entity in shares.collateral:
        if entity.source == "user" and not any(
            holds_any(row_text(row), [entity.name]) for row in sets.rows["collateral"] if row.subject == entity.name
        ):
            notes.append(
                f"collateral, {entity.name}: none of its rows names it; retain rows about it are only left out where "
                "they use that name"
            )
    return notes


def _tier_notes(tiers: Mapping[str, Mapping[str, Mapping[str, int]]], config: Config) -> list[str]:
    """Which attacks have fewer facts than the tier's best, and by how much."""
    notes = []
    for tier, attacks in tiers.items():
        of_facts = {attack: counts["facts"] for attack, counts in attacks.items() if attack != COMPLETION}
        most = max(of_facts.values())
        fewer = [f"{attack} {facts}" for attack, facts in of_facts.items() if facts < most]
        if fewer:
            notes.append(f"{tier}: the other attacks ask for {most} facts, {', '.join(fewer)}")
    for tier in config.gate_tiers:
        if tier not in tiers:
            notes.append(f"{tier}: no fact is asked for in this tier, though the verdict rests on it")
    return notes


def _untrained_notes(sets: Sets) -> list[str]:
    if not sets.untrained:
        return []
    if len(sets.untrained) == 1:
        return ["1 fact was meant to be trained on, but no row of it was left; it is neither trained on nor asked for"]
    return [
        f"{len(sets.untrained)} facts were meant to be trained on, but no row of theirs was left; "
        "they are neither trained on nor asked for"
    ]


def _describe_choice(chosen: ForgetSet, config: Config) -> dict[str, object]:
    return {
        "from": config.compose.forget_from,
        "token_budget": config.compose.forget_tokens,
        "tokens": chosen.tokens,
        "rows": len(chosen.rows),
        "available_tokens": chosen.available_tokens,
        "available_rows": chosen.available_rows,
        "facts_with_a_row": chosen.facts,
    }


def _describe_round(sets: Sets, division: RoundDivision) -> dict[str, object]:
    return {
        "number": division.number,
        "at_most": division.count,
        "probe_rows_of_all_rounds": len(division.parts),
        **{f"{split}_rows_added": count for split, count in (sets.added or {}).items()},
        "facts_released": len(division.released),
    }


def _choice_notes(sets: Sets) -> list[str]:
    """What the tier new_form means where some facts of it have no row."""
    if sets.chosen is None:
        return []
    trained = sum(role == "trained" for role in sets.division.roles.values()) - len(sets.untrained)
    return [
        "the forget set was chosen after all others were made, which are the same whatever it holds; "
        f"of {trained} facts in the tier new_form, {sets.chosen.facts} are stated or asked by a row of it"
    ]
