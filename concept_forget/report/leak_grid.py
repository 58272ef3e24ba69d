"""What leaked, fact by attack: a grid, and behind each of its cells the prompts and replies with the answer marked."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from concept_forget.measures.marking import mark_answer
from concept_forget.records import Attempt, Grade
from concept_forget.report.material import Material
from concept_forget.report.redaction import HIDDEN, Redactor
from concept_forget.report.templates import page_bytes
from concept_forget.report.wording import TIERS

State = Literal["leaks", "some", "part", "both", "kept", "not asked"]
"""Of the unlearned model: every reply gives it away, some do, one gives a part, it does as the reference does, none."""

MODELS = ("base", "unlearned", "reference", "strangers")
_MODEL_NAMES = {"strangers": "base, of somebody invented", "reference": "reference, never learned it"}
MOST_FACTS, MOST_CELLS = 600, 8_000
"""Rows and cells of a grid at most; there are never fewer than ``FEWEST_FACTS`` rows."""
FEWEST_FACTS = 20
BUDGET = 2_000_000
"""Bytes that the replies may take on a page."""
_ENTRY, _REPLY = 420, 150  # what markup takes beside the texts
_SAMPLES = 3
_LONGEST = 900
_LABEL = 80


@dataclass(frozen=True, slots=True)
class Shown:
    """A reply as it is shown: pieces of text, every second one the answer."""

    model: str
    pieces: tuple[str, ...]
    leaked: bool
    part: bool
    reason: str
    more: int  # replies to the same prompt that are not shown


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and what the models said to it; ``turns`` are who spoke and what."""

    turns: tuple[tuple[str, str], ...]
    replies: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A fact under one attack. ``exchanges`` is empty where it was not asked, or left out to keep the page small."""

    attack: str
    state: State
    share: float
    exchanges: tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact on one tier, with a cell for every attack of the grid; ``number`` counts the rows as they are shown."""

    number: int
    concept: str
    subject: str
    facet: str
    answer: str
    tier: str
    share: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The facts that leak most come first in each tier; ``notes`` say what is left out."""

    attacks: tuple[str, ...]
    rows: tuple[FactRow, ...]
    notes: tuple[str, ...]

    @property
    def leaking(self) -> int:
        """Rows of which at least one reply of the unlearned model gives the fact away."""
        return sum(any(cell.state in ("leaks", "some", "both") for cell in row.cells) for row in self.rows)


_Found = tuple[Attempt, Grade]


def build_grid(material: Material, redactor: Redactor, budget: int = BUDGET) -> Grid:
    """The grid of a run, cut to what a page can hold.

    Args:
        material: What the stages left.
        redactor: What is hidden.
        budget: Bytes that replies may take.
    """
    known = {fact["id"]: fact for fact in material.facts}
    found: dict[tuple[str, str], dict[str, list[_Found]]] = {}
    for attempt, grade in material.attempts:
        if attempt.family != "collateral" and attempt.model in MODELS:
            asked = found.setdefault((attempt.tier, attempt.fact), {})
            asked.setdefault(attempt.attack, []).append((attempt, grade))
    attacks = _by_leaks(found.values())
    rows = [_row(tier, asked, attacks, known.get(fact, {}), redactor) for (tier, fact), asked in found.items()]
    tiers = {tier: place for place, tier in enumerate(TIERS)}
    order = sorted(
        zip(rows, found.values(), strict=True), key=lambda pair: (tiers.get(pair[0].tier, len(tiers)), -pair[0].share)
    )
    kept = _most_leaking(order, max(FEWEST_FACTS, min(MOST_FACTS, MOST_CELLS // max(1, len(attacks)))))
    left, without = budget, 0
    filled: dict[int, FactRow] = {}
    for index in sorted(range(len(kept)), key=lambda index: -kept[index][0].share):
        row, asked = kept[index]
        cells = []
        for cell in row.cells:
            exchanges = tuple(_exchanges(asked.get(cell.attack, ()), redactor)) if left > 0 else ()
            left -= _size(exchanges)
            without += bool(cell.state != "not asked" and not exchanges)
            cells.append(Cell(cell.attack, cell.state, cell.share, exchanges))
        filled[index] = replace(row, number=index, cells=tuple(cells))
    return Grid(attacks, tuple(filled[index] for index in range(len(kept))), tuple(_notes(len(rows), kept, without)))


def _by_leaks(facts: Collection[Mapping[str, Sequence[_Found]]]) -> tuple[str, ...]:
    """The attacks, those under which the unlearned model gives most away first; a wide grid shows its first columns."""
    leaks: Counter[str] = Counter()
    for asked in facts:
        for attack, attempts in asked.items():
            leaks[attack] += sum(grade.leaked for attempt, grade in attempts if attempt.model == "unlearned")
    return tuple(sorted(leaks, key=lambda attack: -leaks[attack]))


def _most_leaking(
    order: list[tuple[FactRow, dict[str, list[_Found]]]], most: int
) -> list[tuple[FactRow, dict[str, list[_Found]]]]:
    chosen = sorted(range(len(order)), key=lambda index: (-order[index][0].share, index))[:most]
    return [order[index] for index in sorted(chosen)]


def _notes(rows: int, kept: Sequence[object], without: int) -> Iterator[str]:
    if rows > len(kept):
        yield f"Of {rows:,} rows the {len(kept):,} that leak most are shown; the figures above cover all."
    if without:
        yield (
            f"Prompts and replies of {without:,} cells are left out to keep this page small, those of facts that leak "
            "least; all of them stand in probe/attempts.jsonl."
        )


def _row(
    tier: str,
    asked: dict[str, list[_Found]],
    attacks: Sequence[str],
    fact: Mapping[str, Any],
    redactor: Redactor,
) -> FactRow:
    first = next(iter(asked.values()))[0][0]
    cells = tuple(_cell(attack, asked.get(attack, ())) for attack in attacks)
    shares = [cell.share for cell in cells if cell.state != "not asked"]
    return FactRow(
        number=0,
        concept=first.concept,
        subject=first.subject,
        facet=fact.get("facet", ""),
        answer=_shortened(redactor.whole(first.concept, fact.get("answer", first.expected))),
        tier=tier,
        share=statistics.fmean(shares) if shares else 0.0,
        cells=cells,
    )


def _cell(attack: str, found: Sequence[_Found]) -> Cell:
    grades = [grade for attempt, grade in found if attempt.model == "unlearned"]
    if not grades:
        return Cell(attack, "not asked", 0.0, ())
    share = statistics.fmean(grade.leaked for grade in grades)
    state: State = "leaks" if share == 1 else "some" if share else "kept"
    if not share and any(grade.score > 0 for grade in grades):
        state = "part"
    others = [grade.leaked for attempt, grade in found if attempt.model == "reference"]
    if share and others and statistics.fmean(others) >= share:
        state = "both"
    return Cell(attack, state, share, ())


def _exchanges(found: Sequence[_Found], redactor: Redactor) -> Iterator[Exchange]:
    """Prompt by prompt, models that were asked the same side by side."""
    prompts: dict[tuple[tuple[str, str], ...], dict[str, list[_Found]]] = {}
    for attempt, grade in found:
        turns: tuple[tuple[str, str], ...] = tuple((message["role"], message["content"]) for message in attempt.prompt)
        if attempt.prefill:
            turns = (*turns, ("assistant, begun for it" if turns else "text", attempt.prefill))
        prompts.setdefault(turns, {}).setdefault(attempt.model, []).append((attempt, grade))
    for turns, models in prompts.items():
        attempt = next(iter(models.values()))[0][0]
        hidden = redactor.hides(attempt.concept)
        yield Exchange(
            turns=tuple(
                (role, HIDDEN if hidden and role.startswith("assistant") else _prompt(text, attempt, redactor))
                for role, text in turns
            ),
            replies=tuple(
                shown for model in MODELS for shown in _shown(model, models.get(model, ()), redactor, hidden)
            ),
        )


def _prompt(text: str, attempt: Attempt, redactor: Redactor) -> str:
    """A prompt; of a hidden concept without options and openings, which give the answer away or are it."""
    if not redactor.hides(attempt.concept):
        return _clipped(redactor.text(text))
    if attempt.attack in ("completion", "long_context", "in_context"):
        return HIDDEN
    for option in attempt.options:
        text = text.replace(option, HIDDEN)
    return _clipped(redactor.prompt(text, attempt.fact))


def _shown(model: str, found: Sequence[_Found], redactor: Redactor, hidden: bool) -> Iterator[Shown]:
    ordered = sorted(found, key=lambda one: -one[1].leaked)
    for number, (attempt, grade) in enumerate(ordered[:_SAMPLES]):
        last = number == min(len(ordered), _SAMPLES) - 1
        yield Shown(
            model=_MODEL_NAMES.get(model, model),
            pieces=(HIDDEN,) if hidden else tuple(_pieces(attempt, grade, redactor)),
            leaked=grade.leaked,
            part=not grade.leaked and grade.score > 0,
            reason="" if hidden else redactor.text(grade.reason),
            more=len(ordered) - _SAMPLES if last and len(ordered) > _SAMPLES else 0,
        )


def _pieces(attempt: Attempt, grade: Grade, redactor: Redactor) -> Iterator[str]:
    """The reply cut at the answer's places: text, answer, text, …; as a whole where something in it is hidden."""
    reply = attempt.reply
    if (told := redactor.text(reply)) != reply:
        yield _clipped(told)
        return
    question = attempt.prompt[-1]["content"] if attempt.prompt else attempt.prefill
    done = 0
    wordings = (attempt.expected, *attempt.aliases)
    for start, end in mark_answer(reply, wordings, question, attempt.subject, loosely=grade.score > 0):
        yield _clipped(reply[done:start])
        yield _clipped(reply[start:end])
        done = end
    yield _clipped(reply[done:])


def _shortened(answer: str) -> str:
    """An answer as a label: of a text that was to be continued, its beginning."""
    return answer if len(answer) <= _LABEL else f"{answer[:_LABEL]} …"


def _clipped(text: str) -> str:
    """A text that is not too long: its beginning and its end."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} … ({len(text) - 2 * half:,} characters left out) … {text[-half:]}"


def _size(exchanges: Sequence[Exchange]) -> int:
    return sum(
        _ENTRY
        + sum(page_bytes(text) for _, text in exchange.turns)
        + sum(_REPLY + page_bytes(reply.reason + "".join(reply.pieces)) for reply in exchange.replies)
        for exchange in exchanges
    )
