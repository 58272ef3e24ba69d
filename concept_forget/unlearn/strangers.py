"""Questions about strangers: what a model answers that cannot know, without a model that never learned.

Put somebody's question about a name that nobody has, and the answer's probability is what guessing gives: the level
at which forgetting is complete, and under which it begins to show.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from concept_forget.concept import contains_words, fold, replace_words
from concept_forget.measures.strangers import respell_name
from concept_forget.records import Chat, Example, named_random


def about_strangers(examples: Sequence[Example], count: int, seed: int) -> list[list[Example]]:
    """Every row asked about invented names instead: ``count`` variants of each, none where nothing can be replaced.

    In a question about the subject its name is replaced, in one that names the answer and asks for the subject
    (reverse) the answer. The expected reply stays.

    Args:
        examples: Rows; those of the same fact tell each other what the answer is.
        count: Variants per row.
        seed: The run's seed.
    """
    answers = {example.fact: example.answer for example in examples if fold(example.answer) != fold(example.subject)}
    variants = []
    for example in examples:
        names = (example.subject, answers.get(example.fact, ""))
        name = next((name for name in names if name and _asks_about(example.prompt, name)), None)
        rng = named_random(seed, "stranger", example.id)
        variants.append([_renamed(example, name, rng) for _ in range(count)] if name else [])
    return variants


def _asks_about(prompt: Chat, name: str) -> bool:
    return any(contains_words(fold(message["content"]), fold(name)) for message in prompt)


def _renamed(example: Example, name: str, rng: random.Random) -> Example:
    invented = respell_name(name, rng)
    prompt: Chat = [
        {"role": message["role"], "content": replace_words(message["content"], name, invented)[0]}
        for message in example.prompt
    ]
    return dataclasses.replace(example, id=Example.make_id(prompt, example.completion), prompt=prompt)
