"""Where the forget set comes from, once facts are divided and all other sets are made: of what, and how much of it.

Whatever the source, the facts, the probe, validation, and what is kept and asked for collateral stay the same, row by
row: they are made from all rows there are, and only then the forget rows are replaced. Every replacement stands
before the same walls; where its words are asked or kept elsewhere, it is the forget row that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from concept_forget.compose.budget import draw_rows
from concept_forget.compose.material import Passage, make_found_fact
from concept_forget.compose.mined import cut_passages
from concept_forget.compose.proof import withheld_wordings
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import RowMaker, asked_text, row_text
from concept_forget.compose.statements import Statements
from concept_forget.compose.walls import ASKS_WITHHELD, ProbeWall, Withheld
from concept_forget.compose.wording import BREAK, holds_any
from concept_forget.concept import Concept
from concept_forget.config import ComposeConfig
from concept_forget.errors import StageError
from concept_forget.records import Chat, Example, Question, Source

CountTokens = Callable[[Sequence[Example]], dict[str, int]]


@dataclass(frozen=True, slots=True)
class Taught:
    """A row from elsewhere: a question about a concept with its reply, or a text where there is no question.

    ``parent`` is where it stands or what it was made from; ``chat`` holds the messages that put the question, where it
    brought its own.
    """

    concept: str
    question: str
    reply: str
    source: Source
    parent: str
    chat: Chat = field(default_factory=list)
    prompt_hash: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rows of a forget set have to fit: the division, and the rows of the other sets.

    ``trained`` and ``held`` are the concepts' facts that may be trained on and all their others; ``stays`` are the rows
    that are kept or asked for collateral.
    """

    concepts: tuple[Concept, ...]
    trained: Statements
    held: Statements
    withheld: Withheld
    stays: tuple[Example, ...]
    maker: RowMaker
    rejections: Rejections


@dataclass(frozen=True, slots=True)
class ForgetSet:
    """The forget set that was chosen, and what there was to choose from."""

    rows: list[Example]
    available_rows: int
    tokens: int | None  # None: nothing was counted, since nothing was limited
    available_tokens: int | None
    facts: int  # facts meant to be trained on that a row states or asks


class ForgetSource:
    """Chooses the forget set.

    Args:
        settings: The section of the config.
        seed: The run's seed.
        taught: The rows that are taken instead, where ``forget_from`` is ``oracle`` or ``templates``.
        count_tokens: Tokens of each row, by id, in the target's tokens; needed where there is a budget.
    """

    def __init__(
        self, settings: ComposeConfig, seed: int, taught: Sequence[Taught] = (), count_tokens: CountTokens | None = None
    ) -> None:
        self._settings, self._seed = settings, seed
        self._taught, self._count_tokens = taught, count_tokens

    def choose(self, rows: Sequence[Example], ground: Ground) -> ForgetSet:
        """The forget set, given all rows that there are by default.

        Raises:
            StageError: No row is left, or the first one drawn is larger than the budget.
        """
        source = self._settings.forget_from
        if isinstance(source, tuple):
            found = [row for row in rows if row.source in source]
        else:
            found = keep_apart_from_staying(_within_walls(self._taught, ground), ground)
        if not found:
            named = source if isinstance(source, str) else ", ".join(source)
            raise StageError(
                f"compose: no row is left to forget where `compose.forget_from` is {named}: "
                f"{ground.rejections.commonest()}\n  → take another source, or give more rows"
            )
        sizes = self._count_tokens(found) if self._count_tokens else None
        chosen, budget = found, self._settings.forget_tokens
        facts = {fact.id for fact in ground.trained.facts}
        if budget is not None and sizes is not None:
            chosen = draw_rows(found, sizes, facts, budget, self._seed)
            if not chosen:
                raise StageError(
                    f"compose: not one of {len(found)} forget rows fits into `compose.forget_tokens: {budget}`; the "
                    f"shortest has {min(sizes.values())} tokens\n  → allow more"
                )
        return ForgetSet(
            rows=chosen,
            available_rows=len(found),
            tokens=sum(sizes[row.id] for row in chosen) if sizes else None,
            available_tokens=sum(sizes.values()) if sizes else None,
            facts=len(facts & {fact for row in chosen for fact in (row.fact, *row.parents)}),
        )


def _within_walls(taught: Sequence[Taught], ground: Ground) -> list[Example]:
    """Rows from elsewhere as forget rows, without those that state or ask what is held out."""
    rows = [_question_row(row, ground) for row in taught if row.question]
    passages = [
        Passage(row.concept, row.reply, row.source, row.concept, row.parent, 0, len(row.reply), parents=(row.parent,))
        for row in taught
        if not row.question
    ]
    cut = cut_passages(passages, ground.concepts, ground.trained, ground.held, ground.withheld, ground.rejections)
    facts = {fact.id: fact for fact in ground.trained.facts}
    rows += [ground.maker.passage_row("forget", passage, facts) for passage in cut]
    wall = ProbeWall(ground.held, ground.withheld)
    kept = []
    for row in {row.id: row for row in rows}.values():
        if why := wall.violation(row):
            ground.rejections.add(f"forget: {why}", f"{asked_text(row)} → {row.completion}".removeprefix(" → "))
        else:
            kept.append(row)
    return kept


def keep_apart_from_staying(rows: list[Example], ground: Ground) -> list[Example]:
    """Without the rows whose words are kept or asked for collateral: what stays is the same for every source."""
    cloze = ground.maker.cloze
    everything = withheld_wordings(rows, cloze)
    touched = [row for row in ground.stays if everything.used_by(row_text(row), asked_text(row))]
    apart = []
    for row in rows:
        own = withheld_wordings([row], cloze)
        if any(own.used_by(row_text(other), asked_text(other)) for other in touched):
            ground.rejections.add(f"forget: {ASKS_WITHHELD}", asked_text(row))
        else:
            apart.append(row)
    return apart


def _question_row(row: Taught, ground: Ground) -> Example:
    """The row of a question, of the trained fact that it states where it states just one."""
    concept = next(concept for concept in ground.concepts if concept.name == row.concept)
    stated = ground.trained.stated(f"{row.question}{BREAK}{row.reply}")
    backwards = holds_any(row.reply, concept.names) and not holds_any(row.question, concept.names)
    family = "reverse" if backwards else "direct"
    own = Passage(concept.name, row.reply, row.source, concept.name, parents=(row.parent,))
    fact = stated[0] if len(stated) == 1 else make_found_fact(row.question, row.reply, concept, own)
    question = Question(
        id=Question.make_id(fact.id, family, row.question),
        fact=fact.id,
        family=family,
        variant=0,
        text=row.question,
        answer=row.reply,
        source=row.source,
        parents=(row.parent, *(fact.id for fact in stated)),
        prompt_hash=row.prompt_hash,
    )
    made = ground.maker.question_row("forget", fact, question)
    return replace(made, id=Example.make_id(row.chat, row.reply), prompt=row.chat) if row.chat else made
