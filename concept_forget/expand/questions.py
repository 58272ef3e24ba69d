"""Questions about every fact, in the plain forms: direct, paraphrased, asking back, and with a gap."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from concept_forget.config import ExpandConfig
from concept_forget.expand.facts import StatedFact
from concept_forget.expand.gates import (
    LACKS_ANSWER,
    check_cloze,
    check_question,
    check_reverse,
    comparable,
    make_cloze,
)
from concept_forget.expand.replies import Item
from concept_forget.expand.screening import Screen
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Question

QUESTIONS, PARAPHRASES, CLOZE = "questions", "paraphrases", "cloze"
SECOND_TRIES = 3
"""Draws at temperature for a question that the greedy reply did not give."""

PARAPHRASE_ROUNDS = 5
"""Rounds of asking for paraphrases at most: a small model repeats itself."""

CLOZE_WORDINGS = 2
ASKED_ALREADY = "asked already in these words"


@dataclass(slots=True)
class Sheet:
    """A fact and the questions about it."""

    stated: StatedFact
    direct: list[Question] = field(default_factory=list)
    paraphrases: list[Question] = field(default_factory=list)
    reverse: list[Question] = field(default_factory=list)
    cloze: list[Question] = field(default_factory=list)
    scenarios: list[Question] = field(default_factory=list)
    two_hop: list[Question] = field(default_factory=list)
    translations: list[Question] = field(default_factory=list)

    @property
    def families(self) -> tuple[list[Question], ...]:
        """The questions by family."""
        plain = (self.direct, self.paraphrases, self.reverse, self.cloze)
        return (*plain, self.scenarios, self.two_hop, self.translations)

    @property
    def questions(self) -> list[Question]:
        """All of them, family by family."""
        return [question for family in self.families for question in family]

    @property
    def is_own(self) -> bool:
        """Whether the fact is one of a concept's own, which has to go."""
        return self.stated.subject.distance is None


class _Asked:
    """Every wording asked so far, over all facts: a wording that asks for two facts asks for neither."""

    def __init__(self, writer: Writer, screen: Screen) -> None:
        self._writer = writer
        self._screen = screen
        self._texts: set[str] = set()
        self._check = functools.cache(_check)

    def look(self, sheet: Sheet, family: str, text: str) -> str | None:
        """Why a wording, taken by itself, is none of its family; None where it is one."""
        return self._check(family, text, sheet.stated.subject.names, sheet.stated.fact.answer)

    def forget_looks(self) -> None:
        """Let go of what was found of wordings that have been taken or not."""
        self._check.cache_clear()

    def take(self, step: str, sheet: Sheet, family: str, text: str, prompt: str, parent: str) -> Question | None:
        """The question, if it gets through the gate of its family and is new."""
        fact = sheet.stated.fact
        reason = self.look(sheet, family, text)
        if reason is None and comparable(text) in self._texts:
            reason = ASKED_ALREADY
        reason = reason or self._screen.near(text, _like(sheet, family))
        if reason:
            self._writer.ledger.reject(step, reason, text, (parent,))
            return None
        self._texts.add(comparable(text))
        self._writer.ledger.accept(step)
        return Question(
            id=Question.make_id(fact.id, family, text),
            fact=fact.id,
            family=family,
            variant=0,
            text=text,
            answer=fact.subject if family == "reverse" else fact.answer,
            parents=(parent,),
            prompt_hash=self._writer.prompts.get(prompt).hash,
        )


def _check(family: str, text: str, names: tuple[str, ...], answer: str) -> str | None:
    check = check_reverse if family == "reverse" else check_question
    return check(text, names, answer)


def write_questions(writer: Writer, facts: Sequence[StatedFact], config: ExpandConfig, screen: Screen) -> list[Sheet]:
    """Sheets of the facts that could be asked for directly; the other facts are rejected.

    Raises:
        StageError: No fact of any concept got a direct question, or none a paraphrase where some were asked for.
    """
    sheets = [Sheet(stated) for stated in facts]
    asked = _Asked(writer, screen)
    back = _reversible(writer, sheets) if config.reverse else []
    _first_questions(writer, asked, sheets, back)
    kept = [sheet for sheet in sheets if sheet.direct]
    for sheet in sheets:
        if not sheet.direct:
            fact = sheet.stated.fact
            writer.ledger.reject(QUESTIONS, "no direct question about the fact", fact.sentence, (fact.id,))
    if not any(map(_is_own, kept)):
        raise writer.ledger.fail(QUESTIONS, "no fact about any concept got a direct question", _REMEDY)
    _paraphrase(writer, asked, kept, config, screen)
    if config.paraphrases and not any(sheet.paraphrases for sheet in kept if _is_own(sheet)):
        raise writer.ledger.fail(PARAPHRASES, "no question about any concept was paraphrased", _REMEDY)
    _make_clozes(writer, kept, screen)
    return kept


def _reversible(writer: Writer, sheets: Sequence[Sheet]) -> list[Sheet]:
    """Sheets whose answer no other subject has for the same facet: only such an answer can lead back to its subject."""
    facts = [sheet.stated.fact for sheet in sheets]
    shared = Counter((comparable(fact.facet), comparable(fact.answer)) for fact in facts)
    alone = []
    for sheet, fact in zip(sheets, facts, strict=True):
        if shared[comparable(fact.facet), comparable(fact.answer)] == 1:
            alone.append(sheet)
        else:
            writer.ledger.reject(QUESTIONS, "several subjects share the answer", fact.answer, (fact.id,))
    return alone


def _first_questions(writer: Writer, asked: _Asked, sheets: Sequence[Sheet], back: Sequence[Sheet]) -> None:
    """One direct question per sheet and one reverse question for those that can be asked back.

    What is missing is tried for again at temperature, except that a neighbour is asked back if it comes at once.
    """
    for greedy in (True, False):
        open_sheets = [
            *((sheet, "direct") for sheet in sheets if not sheet.direct),
            *((sheet, "reverse") for sheet in back if not sheet.reverse and (greedy or _is_own(sheet))),
        ]
        wishes = []
        for sheet, form in open_sheets:
            variables = {"concept": sheet.stated.subject.concept, "fact": sheet.stated.fact, "form": form}
            wishes.append(Wish((sheet.stated.fact.id, form), variables, 1 if greedy else SECOND_TRIES))

        def gate(place: int, item: Item, asked_of: Sequence[tuple[Sheet, str]] = open_sheets) -> None:
            asked.look(*asked_of[place], *item)

        replies = writer.gather(QUESTIONS, "questions", wishes, greedy=greedy, gate=gate)
        for (sheet, form), items in zip(open_sheets, replies, strict=True):
            place = sheet.direct if form == "direct" else sheet.reverse
            for (text,) in items:
                if place:
                    writer.ledger.reject(QUESTIONS, "more than were asked for", text, (sheet.stated.fact.id,))
                elif question := asked.take(QUESTIONS, sheet, form, text, "questions", sheet.stated.fact.id):
                    place.append(question)
        asked.forget_looks()


def _paraphrase(writer: Writer, asked: _Asked, sheets: Sequence[Sheet], config: ExpandConfig, screen: Screen) -> None:
    """Paraphrases of the direct and of the reverse question.

    Round after round, while some are missing, some come, and what comes is new enough.
    """
    gain = screen.gain(PARAPHRASES)
    for number in range(PARAPHRASE_ROUNDS):
        wanted = [entry for sheet in sheets for entry in _missing(sheet, config)]
        wishes = [
            Wish((q.id,), {"question": q.text, "styles": _styles(_there(sheet, q), missing, config)}, missing, number)
            for sheet, q, missing in wanted
        ]

        def gate(place: int, item: Item, wanted: Sequence[tuple[Sheet, Question, int]] = wanted) -> None:
            sheet, question, _ = wanted[place]
            asked.look(sheet, _family(question), *item)

        replies = writer.gather(PARAPHRASES, "paraphrases", wishes, gate=gate)
        screen.prepare(
            [*_like(sheet, _family(question)), *(text for (text,) in items)]
            for (sheet, question, _), items in zip(wanted, replies, strict=True)
        )
        came = 0
        for (sheet, question, missing), items in zip(wanted, replies, strict=True):
            family = _family(question)
            place = sheet.reverse if family == "reverse" else sheet.paraphrases
            room = missing
            for (text,) in items:
                if room == 0:
                    writer.ledger.reject(PARAPHRASES, "more than were asked for", text, (question.id,))
                    continue
                new = asked.take(PARAPHRASES, sheet, family, text, "paraphrases", question.id)
                gain.add(text, accepted=new is not None)
                if new is not None:
                    place.append(new)
                    room -= 1
            came += missing - room
        asked.forget_looks()
        if came == 0 or gain.is_spent:
            return


def _family(question: Question) -> str:
    """The family to which a paraphrase of the question belongs."""
    return "reverse" if question.family == "reverse" else "paraphrase"


def _like(sheet: Sheet, family: str) -> list[str]:
    """The wordings so far that ask what one of this family asks."""
    return [q.text for q in (sheet.reverse if family == "reverse" else (*sheet.direct, *sheet.paraphrases))]


def _there(sheet: Sheet, question: Question) -> int:
    """How many paraphrases of the question there are."""
    return len(sheet.reverse) - 1 if question.family == "reverse" else len(sheet.paraphrases)


def _styles(there: int, count: int, config: ExpandConfig) -> list[str]:
    """What the next paraphrases are to be like: the configured styles in turn, after those that are there."""
    styles = config.paraphrase_styles
    return [styles[(there + number) % len(styles)] for number in range(count)]


def _missing(sheet: Sheet, config: ExpandConfig) -> list[tuple[Sheet, Question, int]]:
    """The questions of a sheet that want paraphrases, and how many."""
    own = _is_own(sheet)
    paraphrases = (config.paraphrases if own else config.neighbour_paraphrases) - len(sheet.paraphrases)
    entries = [(sheet, question, paraphrases) for question in sheet.direct]
    if own:  # asking a neighbour back once is enough: it is only there to be kept
        entries += [(sheet, question, config.reverse - len(sheet.reverse)) for question in sheet.reverse[:1]]
    return [entry for entry in entries if entry[2] > 0]


def _is_own(sheet: Sheet) -> bool:
    return sheet.stated.subject.distance is None


def _make_clozes(writer: Writer, sheets: Sequence[Sheet], screen: Screen) -> None:
    """The sentences of a fact with a gap where the answer stood, put as the prompt ``cloze`` puts them."""
    prompt = writer.prompts.get("cloze")
    for sheet in sheets:
        fact = sheet.stated.fact
        for sentence in sheet.stated.sentences[:CLOZE_WORDINGS]:
            gapped = make_cloze(sentence, fact.answer)
            reason = LACKS_ANSWER if gapped is None else check_cloze(gapped, sheet.stated.subject.names, fact.answer)
            if gapped is not None:
                reason = reason or screen.near(gapped, [q.text for q in sheet.cloze])
            if gapped is None or reason:
                writer.ledger.reject(CLOZE, reason or LACKS_ANSWER, sentence, (fact.id,))
                continue
            text = prompt.render_text(sentence=gapped)
            writer.ledger.accept(CLOZE)
            sheet.cloze.append(
                Question(
                    id=Question.make_id(fact.id, "cloze", text),
                    fact=fact.id,
                    family="cloze",
                    variant=0,
                    text=text,
                    answer=fact.answer,
                    parents=(fact.id,),
                    prompt_hash=prompt.hash,
                )
            )


_REMEDY = "look at rejected.jsonl, and try another generator or other `generator.prompts`"
