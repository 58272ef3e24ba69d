"""The forget set that needs no thought: fixed questions filled with a concept's names, answered by the target."""

from __future__ import annotations

from collections.abc import Sequence

from concept_forget.compose.forget_sources import Taught
from concept_forget.concept import Concept
from concept_forget.engines.prompts import Prompt, PromptSet, load_prompts
from concept_forget.engines.protocol import Engine, Request, Sampling


def load_templates() -> Prompt:
    """The questions, one a line, as a prompt file."""
    return load_prompts("compare").get("templates")


def ask_by_name(engine: Engine, concepts: Sequence[Concept], prompts: PromptSet, max_new_tokens: int) -> list[Taught]:
    """What the target replies, greedily, to the questions with each name of each concept.

    Args:
        engine: The target.
        concepts: What is to be forgotten.
        prompts: How a question is put.
        max_new_tokens: Longest reply.

    Returns:
        A row for every reply that is not empty.
    """
    templates, ask = load_templates(), prompts.get("ask")
    asked = [
        (concept.name, question)
        for concept in concepts
        for name in concept.names
        for line in templates.render_text(name=name).splitlines()
        if (question := line.strip())
    ]
    replies = engine.generate(
        [Request(ask.render(question=question)) for _, question in asked], Sampling(max_new_tokens=max_new_tokens)
    )
    return [
        Taught(concept, question, reply[0].text.strip(), "generated", templates.hash, prompt_hash=templates.hash)
        for (concept, question), reply in zip(asked, replies, strict=True)
        if reply[0].text.strip()
    ]
