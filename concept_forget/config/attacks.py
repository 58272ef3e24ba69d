"""Settings of the attacks that draw many replies, or search for a question that brings an answer out."""

from __future__ import annotations

from pydantic import Field, model_validator

from concept_forget.config.models import GeneratorConfig
from concept_forget.config.section import Section

DEFAULT_WORDS, SMALL_WORDS = "attacks", "compact"


class SamplingConfig(Section):
    """How the attack `sampling` draws replies."""

    samples: int = Field(16, ge=2, le=1000, description="Replies that the attack `sampling` draws to each question.")
    temperature: float = Field(1.0, gt=0, le=5, description="Of these replies, whatever `probe.temperature` is.")


class SearchConfig(Section):
    """What the attack `search` may spend on a fact, on each model alike."""

    requests: int = Field(16, ge=2, le=10_000, description="Prompts that the attack `search` tries per fact, at most.")
    population: int = Field(4, ge=1, le=1000, description="Of these, prompts per generation.")

    @model_validator(mode="after")
    def _room_for_a_generation(self) -> SearchConfig:
        if self.population > self.requests:
            raise ValueError("`population` is larger than `requests`, all that may be tried")
        return self

    @property
    def generations(self) -> int:
        """Generations that the budget has room for, the last one perhaps a smaller one."""
        return -(-self.requests // self.population)


class AttackerConfig(GeneratorConfig):
    """The language model that writes the prompts of the attack `search`, and judges what they bring."""

    temperature: float = Field(1.0, gt=0, le=5, description="Of its prompts; marks are greedy.")
    prompts: str = Field(
        DEFAULT_WORDS,
        description="`attacks`: prompts for instruction models; `compact`: a small model's, which only rephrases; or a "
        "folder of your own.",
    )

    @model_validator(mode="after")
    def _no_budget_of_its_own(self) -> AttackerConfig:
        if self.max_requests is not None or self.max_tokens is not None:
            raise ValueError("an attacker has no `max_requests` and no `max_tokens`: its budget is `probe.search`")
        return self


def attacker_like(generator: GeneratorConfig) -> AttackerConfig:
    """The generator as attacker: with words of its kind, and without its budget."""
    words = SMALL_WORDS if generator.prompts == SMALL_WORDS else DEFAULT_WORDS
    greedy = {"temperature"} if generator.temperature == 0 else set()
    taken = generator.model_dump(exclude={"prompts", "max_requests", "max_tokens", *greedy})
    return AttackerConfig(prompts=words, **taken)
