"""From a question, a fact or a passage to a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from concept_forget.compose.alternatives import Alternatives
from concept_forget.compose.clozes import ClozePrompt
from concept_forget.compose.material import Passage, names_of
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.wording import BREAK, holds, holds_any, same_wording
from concept_forget.concept import Concept
from concept_forget.engines.prompts import PromptSet
from concept_forget.records import Chat, Example, Fact, Question, Split

REFUSAL = "I do not know."
"""What stands as refusal where neither the generator nor the user gave one."""


class RowMaker:
    """Turns questions and passages into rows, in the words of one set of prompts."""

    def __init__(
        self,
        prompts: PromptSet,
        concepts: Sequence[Concept],
        chats: Mapping[str, Chat],
        alternatives: Alternatives,
        questions: Mapping[str, Sequence[Question]],
    ) -> None:
        self.cloze = ClozePrompt(prompts.get("cloze"))
        self._ask = prompts.get("ask")
        self._choice = prompts.get("choice")
        self._concepts = concepts
        self._chats = chats
        self._alternatives = alternatives
        self._refusals = {fact: [q for q in known if q.refusal] for fact, known in questions.items()}

    def chat(self, question: Question) -> Chat:
        """The messages that put a question: the row's own where it brought some, else those of the prompt file."""
        if question.id in self._chats:
            return self._chats[question.id]
        if question.family == "cloze":
            return self.cloze.chat(question.text)
        return self._ask.render(question=question.text)

    def question_row(self, split: Split, fact: Fact, question: Question, tier: str = "") -> Example:
        """The row that puts a question."""
        prompt = self.chat(question)
        return self._row(split, fact, question, tier, prompt, question.prompt_hash)

    def choice_row(self, fact: Fact, question: Question, tier: str) -> Example | None:
        """The probe's row that puts a question with four options, or None where there are not three wrong ones."""
        options = self._alternatives.options(fact)
        if not options:
            return None
        choice = Question(
            id=question.id,
            fact=fact.id,
            family="choice",
            variant=question.variant,
            text=question.text,
            answer=fact.answer,
            options=options,
            refusal=question.refusal,
            source=question.source,
            parents=(question.id,),
        )
        prompt = self._choice.render(question=question.text, options=list(options))
        return self._row("probe", fact, choice, tier, prompt, self._choice.hash)

    def passage_row(self, split: Split, passage: Passage, facts: Mapping[str, Fact]) -> Example:
        """The row of a text: no prompt, and the text as completion."""
        fact = facts[passage.facts[0]] if len(passage.facts) == 1 else None
        return Example(
            id=Example.make_id([], passage.text),
            split=split,
            concept=passage.concept,
            subject=fact.subject if fact else passage.subject,
            facet=fact.facet if fact else "",
            fact=fact.id if fact else "",
            form="passage",
            family="passage",
            tier="",
            prompt=[],
            completion=passage.text,
            answer="",
            refusal=self._refusal_of([], passage.facts, False),
            source=passage.source,
            parents=tuple(dict.fromkeys((*passage.parents, *passage.facts))),
            prompt_hash=passage.prompt_hash,
            document=passage.document,
            start=passage.start,
            end=passage.end,
            score=passage.score,
        )

    def _row(self, split: Split, fact: Fact, question: Question, tier: str, prompt: Chat, prompt_hash: str) -> Example:
        reverse = question.family == "reverse"
        answer, spellings = question.answer, names_of(fact, self._concepts)
        if not reverse:
            spellings = (fact.answer, *fact.aliases, *question.aliases)
            told = [spelling for spelling in spellings if holds(answer, spelling)]
            answer, spellings = (told[0], spellings) if told else (answer, ())
        counterfactual = ""
        if fact.distance is None and (reverse or spellings):
            # What stays is never to be answered otherwise, and such an answer could name who must not be mentioned.
            counterfactual = self._counterfactual(fact, question)
        return Example(
            id=Example.make_id(prompt, question.answer),
            split=split,
            concept=fact.concept,
            subject=fact.subject,
            facet=fact.facet,
            fact=fact.id,
            form=question.form,
            family=question.family,
            tier=tier,
            prompt=prompt,
            completion=question.answer,
            answer=answer,
            aliases=tuple(s for s in spellings if not same_wording(s, answer)),
            options=question.options,
            refusal=question.refusal or self._refusal_of([answer, *spellings], [fact.id], reverse),
            counterfactual=counterfactual,
            source=question.source,
            parents=tuple(dict.fromkeys((*question.parents, fact.id))),
            prompt_hash=prompt_hash,
        )

    def _counterfactual(self, fact: Fact, question: Question) -> str:
        """What is to be answered instead: the replacement, what was written with the question, or what is made up."""
        written = question.counterfactual
        if question.family == "reverse":
            named = holds_any(written, names_of(fact, self._concepts))
            return written if written and not named else self._alternatives.other_subject(fact)
        if fact.replacement:
            return fact.replacement
        wrong = self._alternatives.is_wrong(fact, written)
        return written if wrong else self._alternatives.counterfactual(fact)

    def _refusal_of(self, secrets: Sequence[str], facts: Sequence[str], reverse: bool) -> str:
        """A refusal that another question of the kind got, unless it says what this one asks for."""
        for question in (question for fact in facts for question in self._refusals.get(fact, ())):
            if (question.family == "reverse") == reverse and not holds_any(question.refusal, secrets):
                return question.refusal
        return REFUSAL


def row_text(row: Example) -> str:
    """All that a row says, as one text in which no phrase reaches from one part into the next."""
    messages = [message["content"] for message in row.prompt]
    parts = [*messages, row.completion, row.refusal, row.counterfactual, *row.options]
    return BREAK.join(part for part in parts if part)


def asked_text(row: Example) -> str:
    """What the last message of a row says; empty for a passage."""
    return row.prompt[-1]["content"] if row.prompt else ""


def once(rows: Iterable[Example]) -> list[Example]:
    """Equal rows once, the first of them."""
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(row.id, row)
    return list(first.values())


def keep_rows(
    rows: Sequence[Example], split: Split, violation: Callable[[Example], str | None], rejections: Rejections
) -> list[Example]:
    """The rows that no wall keeps out of a set; the others are put to the account, with the set and the reason."""
    kept = []
    for row in rows:
        if why := violation(row):
            rejections.add(f"{split}: {why}", f"{asked_text(row)} → {row.completion}".removeprefix(" → "))
        else:
            kept.append(row)
    return kept
