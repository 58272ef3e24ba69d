"""One round of several: the part of the probe that it alone asks, and what leaked before and is trained on now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from concept_forget.compose.clozes import derive_cloze, make_cloze
from concept_forget.compose.forget_sources import keep_apart_from_staying
from concept_forget.compose.forms import FAMILIES, Allotment
from concept_forget.compose.likeness import Likeness
from concept_forget.compose.material import names_of
from concept_forget.compose.proof import RoundDivision, withheld_wordings
from concept_forget.compose.rows import keep_rows, once
from concept_forget.compose.sets import Composer, Sets
from concept_forget.compose.splitting import Role
from concept_forget.compose.two_hop import TWO_HOP, drop_trained
from concept_forget.compose.verbatim import FAMILY as COMPLETION
from concept_forget.compose.walls import ProbeWall, RetainWall
from concept_forget.compose.wording import words
from concept_forget.errors import StageError
from concept_forget.one_round import Round
from concept_forget.records import Example, Fact, Question, Split, named_random

_UNITS = (*FAMILIES, TWO_HOP, COMPLETION)


def divide_probe(rows: Sequence[Example], count: int, seed: int) -> dict[str, int]:
    """Give every row of the probe the one round that asks it, from 1.

    A fact that is never trained on is asked in one round, in all its forms. Of one that is, every form has its round:
    the forms of a fact are spread over the rounds, and so are the facts of a form. A choice goes with the direct
    question that it repeats.

    Args:
        rows: The probe of all rounds.
        count: Rounds.
        seed: The run's seed.

    Returns:
        Row id → round.
    """
    whole = {row.fact for row in rows if row.tier == "new_fact" or row.family == COMPLETION}
    places = {**_places(whole, rows, seed), **_places({row.fact for row in rows} - whole, rows, seed)}
    rounds = {}
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        shift = 0
        if row.fact not in whole:
            unit = "direct" if row.family == "choice" else row.family
            ordinal = 0 if row.family == "choice" else seen.get((row.fact, unit), 0)
            seen[row.fact, unit] = ordinal + 1
            shift = _UNITS.index(unit) + ordinal
        rounds[row.id] = (places[row.fact] + shift) % count + 1
    return rounds


def _places(facts: set[str], rows: Sequence[Example], seed: int) -> dict[str, int]:
    """A number for each fact, so that the facts of every concept are dealt out evenly."""
    concepts: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.fact in facts:
            concepts.setdefault(row.concept, {})[row.fact] = None
    order: list[str] = []
    for concept, known in concepts.items():
        own = list(known)
        named_random(seed, "compose", "rounds", concept).shuffle(own)
        order += own
    return {fact: place for place, fact in enumerate(order)}


def take_round(sets: Sets, own: Round, composer: Composer) -> Sets:
    """The sets of one round: of those of all rounds together, what it asks, and what it trains on by now.

    What is asked of neighbours is the same in every round. What leaked in the rounds before is to be forgotten as it
    was asked, together with all other rows of the same facts that no round asks any more; neighbours are kept by the
    same forms of question.

    Args:
        sets: The sets of all rounds together.
        own: The round, and what the rounds before this one found.
        composer: What made the sets.

    Raises:
        StageError: There are too few facts and forms for so many rounds, or this one has nothing to ask.
    """
    division = _divide(sets, own, composer.config.seed)
    now = [row for row in sets.unfiltered if division.parts[row.id] == division.number]
    added: dict[Split, list[Example]] = {"forget": [], "retain": []}
    roles: dict[str, Role] = {**sets.division.roles, **dict.fromkeys(division.released, "trained")}
    if own.leaked:
        later = _Later(sets, division, composer)
        added["forget"] = later.forget_rows(own.leaked, roles)
        added["retain"] = later.retain_rows(own.leaked, added["forget"])
    forget = once([*sets.rows["forget"], *added["forget"]])
    hops = [row for row in now if row.tier == TWO_HOP]
    facts = {fact.id: fact for fact in composer.material.facts}
    kept = drop_trained(hops, forget, facts, composer.statements, composer.rejections)
    now = [row for row in now if row.tier != TWO_HOP or row in kept]
    probe = [row for row in now if sets.known.get(row.fact, True)]
    if not probe:
        raise StageError(
            f"compose: round {division.number} of {division.count} has nothing to ask\n"
            "  → lower `rounds`, or give more facts"
        )
    return replace(
        sets,
        rows={**sets.rows, "forget": forget, "retain": once([*sets.rows["retain"], *added["retain"]]), "probe": probe},
        division=replace(sets.division, roles=roles, round=division),
        unfiltered=now,
        added={split: len(rows) for split, rows in added.items()},
    )


def _divide(sets: Sets, own: Round, seed: int) -> RoundDivision:
    parts = divide_probe(sets.unfiltered, own.count, seed)
    empty = sorted(set(range(1, own.count + 1)) - set(parts.values()))
    if empty:
        raise StageError(
            f"compose: {len(parts)} rows of the probe cannot be divided so that each of {own.count} rounds has "
            f"its own: nothing is left for round {empty[0]}\n  → lower `rounds`, or give more facts"
        )
    released = {row.fact for row in own.leaked if sets.division.roles.get(row.fact) == "new_fact"}
    return RoundDivision(
        number=own.number,
        count=own.count,
        parts=parts,
        later=tuple(row for row in sets.unfiltered if parts[row.id] > own.number),
        released=frozenset(released),
    )


class _Later:
    """Makes the rows that a round trains on since something leaked."""

    def __init__(self, sets: Sets, division: RoundDivision, composer: Composer) -> None:
        self._sets, self._composer = sets, composer
        now = [row for row in sets.unfiltered if division.parts[row.id] == division.number]
        validation = [row for row in sets.rows["validation"] if row.tier != "retain"]
        asked = [*now, *division.later]
        self._asked = [*validation, *(row for row in asked if row.family != COMPLETION)]
        self._untrained_texts = {row.parents[0] for row in asked if (row.family, row.tier) == (COMPLETION, "new_fact")}

    def forget_rows(self, leaked: Sequence[Example], roles: Mapping[str, Role]) -> list[Example]:
        """The rows that leaked, and all others of their facts that no set asks from now on.

        A text that was recited, and a question that leads through another, are trained on by what they rest on alone.
        """
        composer = self._composer
        facts = {row.fact for row in leaked}
        texts = {row.parents[0] for row in leaked if row.family == COMPLETION}
        withheld = withheld_wordings(self._asked, composer.maker.cloze)
        likeness = self._likeness(self._asked)
        allotments = {
            fact.id: Allotment(
                train=tuple(q for q in composer.material.questions[fact.id] if q.family != TWO_HOP)
                if fact.id in facts
                else ()
            )
            for fact in composer.material.facts
        }
        about = [
            row
            for row in composer.forget_rows(roles, allotments, withheld, likeness)
            if not facts.isdisjoint((row.fact, *row.parents)) or (row.family == "passage" and row.parents[0] in texts)
        ]
        stays = [row for split in ("collateral", "validation", "retain") for row in self._sets.rows[split]]
        ground = composer.fit(roles, withheld, [row for row in stays if row.tier not in ("new_form", "new_fact")])
        wall = ProbeWall(ground.held, withheld)
        asked = [replace(row, split="forget", tier="") for row in leaked if row.family not in (COMPLETION, TWO_HOP)]
        asked = keep_rows(
            asked, "forget", lambda row: wall.violation(row) or likeness.violation(row), composer.rejections
        )
        rows = [row for row in (*asked, *about) if not (row.family == "passage" and self._is_asked_for(row))]
        known = {row.id for row in self._sets.rows["forget"]}
        return [row for row in keep_apart_from_staying(once(rows), ground) if row.id not in known]

    def _is_asked_for(self, row: Example) -> bool:
        return row.parents[0] in self._untrained_texts

    def retain_rows(self, leaked: Sequence[Example], forget: Sequence[Example]) -> list[Example]:
        """Rows that ask neighbours about the facets that leaked, in the forms in which they did.

        What neighbours were asked anyway is among the rows to keep already; a choice, and a sentence with a gap, are
        made.
        """
        composer, division = self._composer, self._sets.division
        rows: list[Example] = []
        forms = {(row.family, words(row.facet)) for row in leaked}
        for fact in (fact for entity in self._sets.shares.retain for fact in entity.facts):
            known = composer.material.questions.get(fact.id, [])
            direct = next((question for question in known if question.family == "direct"), None)
            if direct is None:
                continue
            if ("choice", words(fact.facet)) in forms:
                choice = composer.maker.choice_row(fact, direct, "")
                rows += [replace(choice, split="retain")] if choice else []
            if ("cloze", words(fact.facet)) in forms and not any(question.family == "cloze" for question in known):
                rows += [composer.maker.question_row("retain", fact, q) for q in self._cloze(fact, direct)]
        stays = [*self._sets.rows["collateral"], *(r for r in self._sets.rows["validation"] if r.tier == "retain")]
        asked = [*self._asked, *stays]
        withheld = withheld_wordings([*self._sets.rows["forget"], *forget, *asked], composer.maker.cloze)
        wall = RetainWall(division.concepts, composer.statements, division.closed, withheld, division.scope)
        likeness = self._likeness(asked)
        return keep_rows(
            once(rows), "retain", lambda row: wall.violation(row) or likeness.violation(row), composer.rejections
        )

    def _cloze(self, fact: Fact, direct: Question) -> list[Question]:
        composer = self._composer
        derived = derive_cloze(fact, direct.text, names_of(fact, composer.config.concepts))
        return [make_cloze(fact, *derived, composer.maker.cloze, fact.source, fact.id)] if derived else []

    def _likeness(self, asked: Sequence[Example]) -> Likeness:
        config = self._composer.config
        return Likeness(asked, self._composer.maker.cloze, config.compose.near_duplicates, config.seed)
