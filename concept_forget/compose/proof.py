"""Proves the three walls on the rows as they were written, and says how."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from concept_forget.compose.clozes import GAP, ClozePrompt
from concept_forget.compose.rows import asked_text, row_text
from concept_forget.compose.splitting import Role
from concept_forget.compose.statements import Statements
from concept_forget.compose.two_hop import TWO_HOP, states_answer
from concept_forget.compose.verbatim import FAMILY as COMPLETION
from concept_forget.compose.walls import KeptScope, ProbeWall, RetainWall, Withheld
from concept_forget.compose.wording import holds_any, words
from concept_forget.concept import Concept
from concept_forget.errors import StageError
from concept_forget.records import Example, Fact, Split

Rows = Mapping[Split, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class RoundDivision:
    """How the probe is divided over several rounds, as one of them sees it.

    Args:
        number: The round, from 1.
        count: Rounds at most.
        parts: Row of the probe → the round that asks it.
        later: The rows that later rounds ask.
        released: Facts held out at first, which leaked in a round before and are trained on since.
    """

    number: int
    count: int
    parts: Mapping[str, int]
    later: tuple[Example, ...]
    released: frozenset[str]


@dataclass(frozen=True, slots=True)
class Division:
    """What the rows were divided by: enough to prove the walls anew."""

    concepts: tuple[Concept, ...]
    facts: tuple[Fact, ...]
    roles: Mapping[str, Role]
    closed: tuple[str, ...]
    scope: KeptScope
    holdout: float
    cloze: ClozePrompt
    round: RoundDivision | None = None

    @property
    def later(self) -> tuple[Example, ...]:
        """The rows of the probe that later rounds ask."""
        return self.round.later if self.round else ()

    @property
    def held(self) -> list[Fact]:
        """The facts that are not trained on."""
        return [fact for fact in self.facts if self.roles[fact.id] != "trained"]


def prove_walls(rows: Rows, division: Division) -> dict[str, dict[str, object]]:
    """Check every row that was written against every wall.

    Args:
        rows: The five sets, read back from disk.
        division: What they were divided by.

    Returns:
        For each wall what it says, that it holds, and what was checked.

    Raises:
        StageError: A row breaks a wall: the row, the wall and the reason are named.
    """
    return {
        "probe": _prove_probe(rows, division),
        "retain": _prove_retain(rows, division),
        "collateral": _prove_collateral(rows, division),
        **({"rounds": _prove_rounds(rows, division.round)} if division.round else {}),
    }


def withheld_wordings(rows: Sequence[Example], cloze: ClozePrompt) -> Withheld:
    """What validation and probe ask about the concepts, in all forms in which it could be repeated.

    A choice repeats the direct question, which is among the rows itself wherever it is withheld; the opening of a text
    is asked for because the text is trained on.
    """
    wordings: list[str] = []
    for row in rows:
        if row.family in ("choice", COMPLETION) or not row.prompt:
            continue
        asked = asked_text(row)
        if row.family == "cloze":
            sentence = cloze.sentence(asked)
            wordings += [sentence, sentence.replace(GAP, row.completion)]
        wordings.append(asked)
    return Withheld(wordings)


def asked_of_concepts(rows: Rows) -> list[Example]:
    """The rows of validation and probe that ask about facts of the concepts."""
    asked = [row for row in (*rows["validation"], *rows["probe"]) if row.tier != "retain"]
    return [row for row in asked if row.family != COMPLETION]


def _prove_probe(rows: Rows, division: Division) -> dict[str, object]:
    roles = Counter(division.roles.values())
    _check_two_hop(rows, division)
    _check_texts(rows)
    if not division.holdout:
        return _prove_trained_form(rows, roles)
    needed = math.ceil(Fraction(str(division.holdout)) * len(division.facts))
    held_out = roles["new_fact"] + len(division.round.released if division.round else ())
    if held_out < needed:
        raise _broken("probe", f"{held_out} facts are held out, {needed} have to be")
    for row in asked_of_concepts(rows):
        wanted = (
            "trained" if row.tier in ("new_form", TWO_HOP) else "new_fact" if row.split == "probe" else "validation"
        )
        if division.roles[row.fact] != wanted:
            raise _broken("probe", f"its fact is {division.roles[row.fact]}, not {wanted}", row)
    both = _wordings(rows["validation"]) & _wordings(rows["probe"])
    if both:
        raise _broken("probe", f"validation and probe both ask {min(both).strip()!r}")
    withheld = withheld_wordings([*asked_of_concepts(rows), *division.later], division.cloze)
    wall = ProbeWall(Statements(division.held, division.concepts), withheld)
    for row in rows["forget"]:
        if reason := wall.violation(row):
            raise _broken("probe", reason, row)
    return {
        "says": "Facts of the tier new_fact and of validation are stated in no forget row; the words of validation "
        "and probe stand in none.",
        "holds": True,
        "facts": {role: roles[role] for role in ("trained", "validation", "new_fact")},
        "held_out_share": round(roles["new_fact"] / len(division.facts), 4) if division.facts else 0.0,
        "forget_rows_checked": len(rows["forget"]),
        "facts_checked_against": len(division.held),
        "wordings_checked_against": len(withheld),
    }


def _prove_rounds(rows: Rows, division: RoundDivision) -> dict[str, object]:
    """Each row of the probe belongs to this round alone, and what later ones ask is trained on in none of the sets.

    That their words stand in no forget or retain row is what the first two walls were held against.
    """
    trained = {row.id for split in ("forget", "retain") for row in rows[split]}
    for row in (*rows["probe"], *division.later):
        if row.id in trained:
            raise _broken("rounds", "a row that this round or a later one asks is trained on", row)
        if row.tier == "new_fact" and row.fact in division.released:
            raise _broken("rounds", "its fact is trained on since a round before", row)
    for row in rows["probe"]:
        if division.parts.get(row.id) != division.number:
            raise _broken("rounds", f"it belongs to round {division.parts.get(row.id)}", row)
    counts = Counter(division.parts.values())
    return {
        "says": "Each row of the probe is asked in one round alone. What this round and later ones ask, facts never "
        "trained on and the words of all questions, stands in no row that this round trains on.",
        "holds": True,
        "round": division.number,
        "rounds": division.count,
        "probe_rows_by_round": {str(number): counts[number] for number in sorted(counts)},
        "rows_of_later_rounds_checked_against": len(division.later),
        "facts_trained_on_since_they_leaked": len(division.released),
    }


_KEPT_SAYS = (
    "Of a concept's own kept scope facts are kept apart, not names: no retain row states one that is asked for."
)


def _check_two_hop(rows: Rows, division: Division) -> None:
    """Two-hop questions lead through a trained fact, and where they lead is trained on in no row."""
    facts = {fact.id: fact for fact in division.facts}
    statements = Statements(division.facts, division.concepts)
    hops = [row for row in rows["probe"] if row.tier == TWO_HOP]
    for row in (*rows["forget"], *rows["retain"], *rows["validation"]):
        if row.family == TWO_HOP:
            raise _broken("probe", "a two-hop question stands outside of the probe", row)
    for row in hops:
        if division.roles[row.fact] != "trained":
            raise _broken("probe", f"it leads through a fact that is {division.roles[row.fact]}", row)
        if states_answer(rows["forget"], row, facts[row.fact], statements):
            raise _broken("probe", "where it leads is trained on", row)


def _check_texts(rows: Rows) -> None:
    """A text that the probe asks for as a trained one is trained on, and one that it calls new is not."""
    trained: dict[str, list[str]] = {}
    for row in rows["forget"]:
        if row.family == "passage":
            trained.setdefault(row.parents[0], []).append(row.completion)
    for row in rows["probe"]:
        if row.family != COMPLETION:
            continue
        runs = trained.get(row.parents[0], [])
        if row.tier == "new_fact" and runs:
            raise _broken("probe", "its text is trained on", row)
        if row.tier != "new_fact" and not any(row.completion in run for run in runs):
            raise _broken("probe", "its text is not trained on", row)


def _prove_trained_form(rows: Rows, roles: Counter[Role]) -> dict[str, object]:
    trained = {row.id for row in rows["forget"]}
    for row in rows["probe"]:
        if row.tier == "trained_form" and row.family != COMPLETION and row.id not in trained:
            raise _broken("probe", "it is said to be asked as trained, and was not trained", row)
    if rows["validation"]:
        raise _broken("probe", "there are validation rows though every fact is trained on", rows["validation"][0])
    return {
        "says": "Not claimed: with compose.holdout 0 every fact is trained on, and the tier trained_form asks exactly "
        "what was trained. Whether other questions still lead to the facts is not measured by it.",
        "holds": None,
        "facts": {"trained": roles["trained"], "validation": 0, "new_fact": 0},
        "probe_rows_found_in_forget": sum(row.id in trained for row in rows["probe"]),
    }


def _prove_retain(rows: Rows, division: Division) -> dict[str, object]:
    forgotten = Statements(division.facts, division.concepts)
    withheld = withheld_wordings([*rows["forget"], *asked_of_concepts(rows), *division.later], division.cloze)
    wall = RetainWall(division.concepts, forgotten, (), withheld, division.scope)
    asked = [*(row for row in rows["validation"] if row.tier == "retain"), *rows["collateral"]]
    for row in rows["retain"]:
        if reason := wall.violation(row):
            raise _broken("retain", reason, row)
    for row in asked:
        if reason := wall.violation(row, trained=False):
            raise _broken("retain", reason, row)
    names = [name for concept in division.concepts for name in concept.names]
    return {
        "says": "No retain row states or asks subject and answer of a fact to be forgotten; none names a concept "
        "outside of what is kept. The same holds for what is only asked, in validation and for collateral.",
        "holds": True,
        "retain_rows_checked": len(rows["retain"]),
        "asked_rows_checked": len(asked),
        "facts_checked_against": len(division.facts),
        "rows_that_name_a_concept_in_kept_scope": sum(holds_any(row_text(row), names) for row in rows["retain"]),
    }


def _prove_collateral(rows: Rows, division: Division) -> dict[str, object]:
    scope = division.scope
    wall = RetainWall((), Statements((), ()), division.closed, Withheld(()), scope)
    for row in rows["retain"]:
        if reason := wall.violation(row):
            raise _broken("collateral", reason, row)
    asked = [*(row for row in rows["validation"] if row.tier == "retain"), *rows["collateral"]]
    trained = _wordings([*rows["retain"], *rows["forget"]])
    for row in asked:
        if words(asked_text(row)) in trained:
            raise _broken("collateral", "the question is trained on", row)
        if row.subject and not scope.holds(row) and not holds_any(row.subject, division.closed):
            raise _broken("collateral", f"{row.subject!r} is not among the names that were checked", row)
    subjects = {row.subject for row in rows["collateral"] if not scope.holds(row)}
    for row in asked:
        about = row.subject if row.subject else row_text(row)
        if row.split == "validation" and holds_any(about, subjects):
            raise _broken("collateral", "collateral asks about the same entity", row)
    return {
        "says": "No retain row mentions an entity asked about for collateral, or for how much validation keeps."
        + (f" {_KEPT_SAYS}" if scope.asked else ""),
        "holds": True,
        "retain_rows_checked": len(rows["retain"]),
        "names_checked_against": len(division.closed),
        **({"kept_facts_checked_against": len(scope.asked)} if scope.asked else {}),
        "forget_rows_that_mention_one": sum(holds_any(row_text(row), division.closed) for row in rows["forget"]),
    }


def _wordings(rows: Sequence[Example]) -> set[str]:
    return {words(asked_text(row)) for row in rows if row.prompt}


def _broken(wall: str, reason: str, row: Example | None = None) -> StageError:
    where = f" by the {row.split} row {row.id} ({asked_text(row) or row.completion!r:.120})" if row else ""
    return StageError(
        f"compose: the {wall} wall is broken{where}: {reason}"
        "\n  → the rows were changed after they were composed, or this is a fault of the program: please report it"
    )
