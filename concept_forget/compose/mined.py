"""What mined text gives: question rows as they are, sentences with gaps, and passages cut to what may be trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from concept_forget.compose.clozes import ClozePrompt, gap_out, make_cloze
from concept_forget.compose.material import Material, Passage, make_found_fact
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.statements import Statements
from concept_forget.compose.walls import Withheld
from concept_forget.compose.wording import holds_any
from concept_forget.concept import Concept
from concept_forget.records import Fact, Question, Snippet

_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』”]*|\n\s*\n)\s*")
_NO_END = re.compile(r"(?:^|[\s(])(?:[^\W\d_]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|vs|etc|cf|ca|e\.g|i\.e)\.$", re.IGNORECASE)
_PAIR = re.compile(
    r"^[ \t]*(?:q|question|user)[ \t]*[:.][ \t]*(?P<question>\S[^\n]*?)\s+"
    r"(?:a|answer|assistant)[ \t]*[:.][ \t]*(?P<answer>\S[^\n]*?)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
NEXT_TO = 500
"""A snippet that begins so few characters behind one about a concept may still speak of it as "she"."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    start: int
    end: int
    text: str


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence, in order, without the white space between them.

    A sentence ends at ``. ! ? …`` before white space, at ``。！？``, and at an empty line; not behind a single letter
    or a common abbreviation.
    """
    spans: list[tuple[int, int]] = []
    start = len(text) - len(text.lstrip())
    for match in _END.finditer(text):
        end = match.start() + len(match.group().rstrip())
        if match.start() < start or (match.group().strip() == "." and _NO_END.search(text[start:end])):
            continue
        if text[start:end].strip():
            spans.append((start, end))
        start = match.end()
    end = len(text.rstrip())
    if start < end:
        spans.append((start, end))
    return spans


def find_pairs(text: str) -> list[re.Match[str]]:
    """The question/answer rows in a text, each with its ``question`` and its ``answer``."""
    return list(_PAIR.finditer(text))


def adopt_pairs(
    material: Material, passages: Sequence[Passage], concepts: Sequence[Concept], rejections: Rejections
) -> None:
    """Take question/answer rows out of passages about a concept: as a wording of a fact, or a new fact."""
    statements = Statements(material.facts, concepts)
    by_name = {concept.name: concept for concept in concepts}
    for passage in passages:
        concept = by_name[passage.concept]
        for pair in find_pairs(passage.text):
            question, answer = pair["question"], pair["answer"]
            if not holds_any(question, concept.names):
                rejections.add("a question in a text that does not name its concept", question)
                continue
            known = [f for f in statements.answered(answer, concept.name) if holds_any(question, statements.names(f))]
            if len(known) > 1:
                rejections.add("a question in a text that asks for several facts", question)
                continue
            fact = known[0] if known else make_found_fact(question, answer, concept, passage)
            if all(other.id != fact.id for other in material.facts):
                material.facts.append(fact)
            family = "paraphrase" if known else "direct"
            material.add_question(_question(fact, family, pair, passage))


def adopt_near_pairs(
    material: Material, passages: Sequence[Passage], concepts: Sequence[Concept]
) -> tuple[list[Fact], list[Passage]]:
    """Take question/answer rows out of passages that are not about a concept.

    Returns:
        A fact for each, its question added to ``material``, and the passages that hold no such row.
    """
    by_name = {concept.name: concept for concept in concepts}
    facts: dict[str, Fact] = {}
    plain = []
    for passage in passages:
        pairs = find_pairs(passage.text)
        if not pairs:
            plain.append(passage)
        for pair in pairs:
            fact = replace(
                make_found_fact(pair["question"], pair["answer"], by_name[passage.concept], passage),
                subject="",
                kind="",
                distance="near",
            )
            facts.setdefault(fact.id, fact)
            material.add_question(_question(fact, "direct", pair, passage))
    return list(facts.values()), plain


def adopt_clozes(
    material: Material, passages: Sequence[Passage], concepts: Sequence[Concept], prompt: ClozePrompt
) -> None:
    """A cloze wording from every sentence that names a subject and states just one fact, of that subject."""
    statements = Statements(material.facts, concepts)
    for passage in passages:
        for sentence in _prose(passage.text):
            stated = statements.stated(sentence.text)
            if len(stated) != 1:
                continue
            fact = stated[0]
            for spelling in (fact.answer, *fact.aliases):
                gapped = gap_out(sentence.text, spelling)
                if gapped is not None and holds_any(gapped, statements.names(fact)):
                    material.add_question(
                        make_cloze(fact, gapped, spelling, prompt, passage.source, passage.parents[0])
                    )
                    break


def snippet_passages(snippets: Sequence[Snippet], *, near_miss: bool) -> list[Passage]:
    """Snippets as passages: those about a concept, or those that nearly are."""
    return [
        Passage(s.concept, s.text, "mined", "", s.document, s.start, s.end, s.score, (s.id,))
        for s in snippets
        if s.near_miss == near_miss
    ]


def cut_passages(
    passages: Sequence[Passage],
    concepts: Sequence[Concept],
    trained: Statements,
    held: Statements,
    withheld: Withheld,
    rejections: Rejections,
    kept: Statements | None = None,
) -> list[Passage]:
    """Cut passages about the concepts to runs of sentences that may be trained on.

    A sentence is left out that holds the answer of a fact held out or kept for validation (in a passage about a
    concept, the subject need not be named again), or words that validation or the probe will use. A run of mined text
    begins with a sentence that names its concept; behind it come only sentences that name it too, or that state a
    trained fact. What the user gave, and what was written on a subject, is taken to be about the concept.

    Args:
        passages: Texts about the concepts.
        concepts: All concepts.
        trained: The facts trained on.
        held: All other facts of the concepts.
        withheld: The wordings of validation and probe.
        rejections: Takes the sentences that were left out.
        kept: Facts of the concepts that are to stay.
    """
    stays = kept or Statements((), ())
    runs: dict[tuple[str, str], Passage] = {}
    for passage in passages:
        about = [c for c in concepts if c.name == passage.concept or holds_any(passage.text, c.names)]

        def reason(sentence: str, about: Sequence[Concept] = about) -> str | None:
            if any(held.answered(sentence, concept.name) for concept in about) or held.stated(sentence):
                return "a sentence that states a fact held out or kept for validation"
            if withheld.used_by(sentence, ""):
                return "a sentence in the words of validation or probe"
            if any(stays.answered(sentence, concept.name) for concept in about) or stays.stated(sentence):
                return "a sentence that states a fact that is to stay"
            return None

        own = next(concept for concept in concepts if concept.name == passage.concept)
        on_subject = passage.on_subject or passage.source == "user"

        def is_about(sentence: str, behind: bool, own: Concept = own, on_subject: bool = on_subject) -> bool:
            if on_subject or holds_any(sentence, own.names):
                return True
            return behind and bool(trained.answered(sentence, own.name))

        for run in _runs(passage, is_about, reason, rejections):
            run = replace(run, facts=tuple(fact.id for fact in trained.answered(run.text, run.concept)))
            # Two sentences that say nothing alone may say it together.
            if why := reason(run.text):
                rejections.add(why, run.text)
            else:
                runs.setdefault((run.concept, run.text), run)
    return list(runs.values())


def cut_staying(
    passages: Sequence[Passage], reason: Callable[[Passage], str | None], rejections: Rejections
) -> list[Passage]:
    """Cut passages about what is to stay to runs of sentences of which none is refused, nor all together.

    Args:
        passages: Texts about neighbours, or about what is to stay of a concept.
        reason: Why a text must not be trained on, or None.
        rejections: Takes the sentences and runs that were left out.
    """
    runs: dict[tuple[str, str], Passage] = {}
    for passage in passages:

        def refuse(sentence: str, passage: Passage = passage) -> str | None:
            why = reason(replace(passage, text=sentence))
            return f"retain: {why}" if why else None

        for run in _runs(passage, lambda sentence, behind: True, refuse, rejections):
            if why := refuse(run.text):
                rejections.add(why, run.text)
            else:
                runs.setdefault((run.concept, run.text), run)
    return list(runs.values())


def close_behind(passage: Passage, snippets: Iterable[Snippet], concepts: Sequence[Concept]) -> bool:
    """Whether a passage follows so closely on mined text that names a concept that it may go on about it."""
    names = [name for concept in concepts for name in concept.names]
    return any(
        snippet.document == passage.document
        and snippet.start < passage.start <= snippet.end + NEXT_TO
        and holds_any(snippet.text, names)
        for snippet in snippets
    )


def _question(fact: Fact, family: str, pair: re.Match[str], passage: Passage) -> Question:
    return Question(
        id=Question.make_id(fact.id, family, pair["question"]),
        fact=fact.id,
        family=family,
        variant=0,
        text=pair["question"],
        answer=pair["answer"],
        source=passage.source,
        parents=passage.parents,
    )


def _prose(text: str) -> list[_Sentence]:
    """The sentences of a text that are no part of a question/answer row."""
    pairs = [match.span() for match in find_pairs(text)]
    return [
        _Sentence(start, end, text[start:end])
        for start, end in split_sentences(text)
        if not any(start < pair_end and pair_start < end for pair_start, pair_end in pairs)
    ]


def _runs(
    passage: Passage,
    is_about: Callable[[str, bool], bool],
    reason: Callable[[str], str | None],
    rejections: Rejections,
) -> list[Passage]:
    """Runs of sentences that are ``is_about`` the concept (told whether a run is under way) and have no ``reason``."""
    runs: list[list[_Sentence]] = [[]]
    for sentence in _prose(passage.text):
        why = reason(sentence.text)
        if why is None and not is_about(sentence.text, bool(runs[-1])):
            why = "a sentence that is not about the concept"
        if why is not None:
            rejections.add(why, sentence.text)
            runs.append([])
        else:
            runs[-1].append(sentence)
    return [_passage(passage, run) for run in runs if run]


def _passage(passage: Passage, run: Sequence[_Sentence]) -> Passage:
    start, end = run[0].start, run[-1].end
    offset = max(passage.start, 0)
    text = passage.text[start:end]
    if passage.source == "generated":
        return replace(passage, text=text)  # it stands in no document
    return replace(passage, text=text, start=offset + start, end=offset + end)
