"""What attacks may use besides the question: other names, other subjects' questions and answers, other texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from concept_forget.concept import Concept, contains_words, fold
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.records import Chat, Example


@cache
def wordings() -> PromptSet:
    """The prompt files of the attacks that have words of their own."""
    return load_prompts("attacks")


def word(name: str, **variables: Any) -> str:
    """The wording called ``name``, filled in."""
    return wordings().get(name).render_text(**variables)


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds a probe.

    ``aliases`` are other names by subject and ``kinds`` what a concept is, by its name. ``answers`` holds, by folded
    facet, each subject with an answer of its own. ``examples`` are chats about other entities, the right reply their
    last message; ``texts`` tell of other things. No concept is named in either.
    """

    seed: int = 0
    aliases: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answers: Mapping[str, tuple[tuple[str, str], ...]] = dataclasses.field(default_factory=dict)
    examples: tuple[tuple[str, Chat], ...] = ()  # subject, chat
    texts: tuple[str, ...] = ()
    distraction_words: int = 400

    def renamed(self, subject: str, stranger: str) -> Scene:
        """The scene in which a stranger stands in a subject's place, known by no other name."""
        return dataclasses.replace(self, aliases={stranger: (stranger,) * len(self.aliases.get(subject, ()))})


def set_scene(
    concepts: Sequence[Concept],
    probe: Sequence[Example],
    staying: Sequence[Example],
    *,
    seed: int,
    distraction_words: int,
) -> Scene:
    """Gather what attacks may use.

    Args:
        concepts: What is forgotten, by this run and those before it.
        probe: The rows that ask for it.
        staying: Rows about other entities: of the retain set, and those that are asked for collateral.
        seed: The run's seed.
        distraction_words: Words that go before a question in a long context, at most.
    """
    names = [fold(name) for concept in concepts for name in concept.names]
    others = [row for row in staying if not _tells(row, names)]
    answers: dict[str, dict[tuple[str, str], None]] = {}
    for row in (*probe, *others):
        if row.family in ("direct", "paraphrase") and row.answer:
            answers.setdefault(fold(row.facet), {})[row.subject, row.answer] = None
    return Scene(
        seed=seed,
        aliases={concept.name: concept.aliases for concept in concepts if concept.aliases},
        kinds={concept.name: concept.kind for concept in concepts},
        answers={facet: tuple(found) for facet, found in answers.items()},
        examples=tuple(_examples(others)),
        texts=tuple(dict.fromkeys(row.completion for row in others if not row.prompt or row.family == "direct")),
        distraction_words=distraction_words,
    )


def holds_answer(text: str, row: Example) -> bool:
    """Whether a text holds what a row asks for, in any of its spellings."""
    folded = fold(text)
    return any(contains_words(folded, fold(answer)) for answer in (row.answer, *row.aliases))


def _examples(rows: Iterable[Example]) -> Iterable[tuple[str, Chat]]:
    for row in rows:
        if row.family == "direct" and row.prompt and row.completion:
            yield row.subject, [*row.prompt, {"role": "assistant", "content": row.completion}]


def _tells(row: Example, names: Sequence[str]) -> bool:
    text = fold(" \n ".join([row.subject, *(message["content"] for message in row.prompt), row.completion]))
    return any(contains_words(text, name) for name in names)
