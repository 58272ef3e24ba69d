"""Questions with a gap, made from sentences that state a fact."""

from __future__ import annotations

import re
from collections.abc import Sequence

from concept_forget.compose.wording import holds_any, tells_something, without_article, word_list
from concept_forget.concept import normalise_text, replace_words
from concept_forget.engines.prompts import Prompt
from concept_forget.records import Chat, Fact, Question, Source, user_message

GAP = "____"
LONGEST_GAP = 8
"""Words that may stand in a gap at most: nobody fills in more."""

_TOKEN = re.compile(r"\w+[+#]*(?:[-'’.&]\w+)*")
_SMALL = frozenset(
    "a an the of in on at to for by with from as is was were are be been has have had and or that which who she he her "
    "his their its it they".split()
)
_PAUSE = re.compile(r"[^\w\s:'’&/-]")
"""What parts a sentence: a gap does not reach over a comma or out of a quotation."""

_MARK = "\u2402cloze\u2403"


class ClozePrompt:
    """The prompt that puts a sentence with a gap, and its inverse."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        head, mark, tail = prompt.render_text(sentence=_MARK).partition(_MARK)
        self._frame = (head, tail) if mark else None

    @property
    def hash(self) -> str:
        """The hash of the prompt file."""
        return self._prompt.hash

    def text(self, sentence: str) -> str:
        """What a user types."""
        return self._prompt.render_text(sentence=sentence)

    def sentence(self, text: str) -> str:
        """The sentence in what a user types; the whole text where the prompt did not write it."""
        if self._frame is None:
            return text
        head, tail = self._frame
        if len(text) > len(head) + len(tail) and text.startswith(head) and text.endswith(tail):
            return text[len(head) : len(text) - len(tail)]
        return text

    def chat(self, text: str) -> Chat:
        """The messages that put it."""
        sentence = self.sentence(text)
        return self._prompt.render(sentence=sentence) if self.text(sentence) == text else user_message(text)

    def filled(self, question: Question) -> str:
        """The sentence with its answer back in the gap."""
        return self.sentence(question.text).replace(GAP, question.answer)


def gap_out(sentence: str, answer: str) -> str | None:
    """The sentence with ``____`` for the answer; None where the answer is not in it, or is all of it."""
    plain = normalise_text(answer)
    if not tells_something(plain) or GAP in sentence:
        return None
    gapped, found = replace_words(normalise_text(sentence), plain, GAP)
    if not found and without_article(plain) != plain:
        return gap_out(sentence, without_article(plain))
    left = [word for word in word_list(gapped.replace(GAP, " ")) if word not in _SMALL]
    return gapped if found and left else None


def derive_cloze(fact: Fact, direct: str, names: Sequence[str]) -> tuple[str, str] | None:
    """A sentence with a gap and what belongs there, from nothing but a fact and its question.

    Where the fact's sentence holds more than the answer, the answer goes. Where the answer is itself the sentence, as
    in question-answering sets, the longest run of words that the question has not said goes.

    Args:
        fact: The fact.
        direct: Its direct question.
        names: What its subject is called: the rest of the sentence has to name it.
    """
    sentence = normalise_text(fact.sentence)
    if not sentence:
        return None
    answer = fact.answer
    if normalise_text(fact.answer) == sentence:
        answer = _news(sentence, direct)
    gapped = gap_out(sentence, answer)
    if gapped is None or not holds_any(gapped, names):
        return None
    return gapped, answer


def make_cloze(fact: Fact, gapped: str, answer: str, prompt: ClozePrompt, source: Source, parent: str) -> Question:
    """The question that a sentence with a gap makes."""
    text = prompt.text(gapped)
    return Question(
        id=Question.make_id(fact.id, "cloze", text),
        fact=fact.id,
        family="cloze",
        variant=0,
        text=text,
        answer=answer,
        source=source,
        parents=(parent,),
        prompt_hash=prompt.hash,
    )


def _news(sentence: str, question: str) -> str:
    """The run of words that the question lacks with most names and numbers in it; of these, the longest."""
    best, most = "", (0, 0)
    for run in _runs_of_news(sentence, set(word_list(question))):
        while run and run[0].group().casefold() in _SMALL:
            run = run[1:]
        while run and run[-1].group().casefold() in _SMALL:
            run = run[:-1]
        if not run or len(run) > LONGEST_GAP:
            continue
        start, end = run[0].start(), run[-1].end()
        marked = sum(token.start() > 0 and not token.group()[0].islower() for token in run)
        if (marked, end - start) > most:
            best, most = sentence[start:end], (marked, end - start)
    return best


def _runs_of_news(sentence: str, known: set[str]) -> list[list[re.Match[str]]]:
    runs: list[list[re.Match[str]]] = [[]]
    behind = 0
    for token in _TOKEN.finditer(sentence):
        if _PAUSE.search(sentence[behind : token.start()]):
            runs.append([])
        behind = token.end()
        if token.group().casefold() not in _SMALL and known.issuperset(word_list(token.group())):
            runs.append([])
        else:
            runs[-1].append(token)
    return runs
