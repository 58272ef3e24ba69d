"""What an item has to be: gates that look at nothing but the item and the words that it must or must not hold.

Every gate returns the reason for which the item is rejected, or None. Reasons are fixed sentences, so that they can be
counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from concept_forget.concept import Concept, contains_words, fold, normalise_text, replace_words
from concept_forget.expand.replies import EMPTY
from concept_forget.measures.refusals import refuses

GAP = "____"

TOO_LONG = "too long"
META_TEXT = "speaks about the task instead of doing it"
REFUSES = "refuses instead of doing the task"
GIVES_ANSWER = "gives its answer away"
LACKS_SUBJECT = "does not name the subject"
LACKS_ANSWER = "does not contain the answer"
SUBJECT_AS_ANSWER = "the answer is the subject itself"
NO_ANSWER = "the answer says that there is none"
KEPT = "is among what must stay"
NAMES_CONCEPT = "names a concept to forget"
IRRELEVANT = "is not about the concept"
SAME_WORDS = "has nearly the words of another"
SAME_MEANING = "says nearly the same as another"

_LONGEST = {"facet": 80, "answer": 160, "sentence": 400, "question": 300, "refusal": 300, "name": 100, "kind": 60}
"""Characters. Beyond them a reply is a text, not an item."""

_META = re.compile(
    # Who speaks.
    r"\b(?:as|i am|i'm|being) (?:just |only )?an? "
    r"(?:ai|artificial intelligence|(?:large )?language model|assistant|chatbot|virtual assistant)"
    r"(?: (?:language model|model|assistant|system|chatbot))?(?=\s*(?:[,;.]|$|\bi\b|\band i\b))"
    r"|\ban ai language model\b"
    r"|\bmy (?:training data|knowledge cut-?\s?off|last (?:update|training))\b"
    # How it opens a reply.
    r"|^(?:sure|certainly|of course|okay|ok|absolutely)\b\s*[,!.:]"
    r"|^here (?:is|are)\b.*:\s*$"
    r"|^(?:question|paraphrase|answer|facet|sentence|fact|output|note|disclaimer|reply|passage"
    r"|(?:rephrased|reworded|paraphrased)(?: (?:question|version|sentence))?)\s*\d*\s*:"
    # That it made it up.
    r"|\bfor illustrati(?:ve|on) purposes\b"
    r"|\b(?:this|these|(?:the )?(?:above|following)(?: \w+)?) (?:is|are|was|were) (?:an? )?"
    r"(?:(?:entirely|purely|completely|just|only|merely) )?"
    r"(?:fictional|fictitious|fabricated|hypothetical|made[- ]up|invented) ?"
    r"(?:examples?|facts?|information|answers?|details?|data|questions?|statements?|scenarios?|text)?\s*(?:[.,;:!)]|$)"
    r"|\b(?:this|here) is an? (?:\w+ )?(?:fictional|fictitious|fabricated|hypothetical|made[- ]up) example\b"
    # What it was shown, which a reader will not see.
    r"|\baccording to the (?:provided|given|above|following) (?:text|passage|fact|facts|context|information|sentence)\b"
    r"|\b(?:in|from|by|of|to) the (?:text|passage|sentence|fact|context|information) "
    r"(?:above|below|provided|given(?! to)|you provided)\b"
    r"|\bthe (?:provided|given|above) (?:fact|sentence|clue|subject|paraphrase)\b"
    # What it was to fill in.
    r"|```|<\||\|>|\{\{|\}\}|\[(?:insert|subject|answer|name)\b|\blorem ipsum\b",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"(?:unknown|none|nothing|not (?:known|available|applicable|specified|stated)|n a|unspecified|no answer"
    r"|i (?:do not|don t|cannot|can t) .*)"
)
_ARTICLE = re.compile(r"^(?:the|an?) (?=\S)")


def comparable(text: str) -> str:
    """The form in which answers are compared: folded, without punctuation, without an article at its head."""
    folded = fold(text)
    spaced = "".join(" " if unicodedata.category(character)[0] in "PS" else character for character in folded)
    return _ARTICLE.sub("", " ".join(spaced.split()))


def holds(text: str, phrase: str) -> bool:
    """Whether ``phrase`` stands in ``text`` as whole words, whatever the case, the punctuation and a leading article.

    A phrase of nothing but punctuation stands nowhere.
    """
    return contains_words(comparable(text), comparable(phrase))


def holds_any(text: str, phrases: Iterable[str]) -> bool:
    """Whether one of the phrases stands in the text."""
    return any(holds(text, phrase) for phrase in phrases)


def check_text(kind: str, text: str) -> str | None:
    """What every item must be: not empty, not longer than its kind allows, and no talk about the task."""
    if not comparable(text):
        return EMPTY
    if len(text) > _LONGEST[kind]:
        return TOO_LONG
    if _META.search(text.replace("’", "'")):
        return META_TEXT
    if kind != "refusal" and refuses(text):  # of an item that is to be a refusal it is no fault
        return REFUSES
    return None


def check_facet(facet: str, concept: Concept) -> str | None:
    """A facet of the concept that does not have to stay."""
    if reason := check_text("facet", facet):
        return reason
    if holds_any(facet, concept.keep):
        return KEPT
    return None


def check_fact(answer: str, sentence: str, names: Collection[str]) -> str | None:
    """A short answer, and a sentence that states it of the subject called by one of ``names``."""
    if reason := check_text("answer", answer) or check_text("sentence", sentence):
        return reason
    if _NO_ANSWER.fullmatch(comparable(answer)):
        return NO_ANSWER
    if any(comparable(answer) == comparable(name) for name in names):
        return SUBJECT_AS_ANSWER
    if not holds_any(sentence, names):
        return LACKS_SUBJECT
    if not holds(sentence, answer):
        return LACKS_ANSWER
    return None


def check_question(text: str, names: Collection[str], answer: str) -> str | None:
    """A question that names its subject and keeps its answer to itself."""
    if reason := check_text("question", text):
        return reason
    if not holds_any(text, names):
        return LACKS_SUBJECT
    if holds(text, answer):
        return GIVES_ANSWER
    return None


def check_reverse(text: str, names: Collection[str], answer: str) -> str | None:
    """A question that holds the fact's answer and asks for its subject, without giving that away."""
    if reason := check_text("question", text):
        return reason
    if not holds(text, answer):
        return LACKS_ANSWER
    if holds_any(text, names):
        return GIVES_ANSWER
    return None


def check_refusal(text: str, answers: Collection[str]) -> str | None:
    """A reply that declines, and so holds none of the ``answers``."""
    if reason := check_text("refusal", text):
        return reason
    if holds_any(text, answers):
        return GIVES_ANSWER
    return None


def check_neighbour(name: str, kind: str, concepts: Iterable[Concept]) -> str | None:
    """Something with a name and a kind that is none of the concepts, nor named after one."""
    if reason := check_text("name", name) or check_text("kind", kind):
        return reason
    own = [own for concept in concepts for own in concept.names]
    if holds_any(name, own) or any(holds(each, name) for each in own):
        return NAMES_CONCEPT
    return None


def make_cloze(sentence: str, answer: str) -> str | None:
    """The sentence with the answer, wherever it stands, replaced by ``____``; None where it does not stand in it.

    The answer has to stand there word for word, up to case and white space.
    """
    words = normalise_text(answer)
    if not words:
        return None
    gapped, count = replace_words(normalise_text(sentence), words, GAP)
    return gapped if count else None


def check_cloze(text: str, names: Collection[str], answer: str) -> str | None:
    """A sentence with a gap that still names its subject and no longer holds the answer."""
    if reason := check_text("sentence", text):
        return reason
    if not holds_any(text, names):
        return LACKS_SUBJECT
    if holds(text, answer):
        return GIVES_ANSWER
    return None
