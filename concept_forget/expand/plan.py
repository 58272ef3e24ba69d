"""How much a config will ask of its generator, reckoned without a model."""

from __future__ import annotations

from dataclasses import dataclass

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.expand.facts import FACET_DRAWS
from concept_forget.expand.judging import load_judge_prompt
from concept_forget.expand.passages import LEVELS
from concept_forget.expand.writer import requests_for

FACETS_FOUND = 6
"""Facets that a generator is reckoned to name of one subject, where more are asked for."""

SECOND_SENTENCE_TRIES = 0.5
CHARACTERS_PER_TOKEN = 4
ITEM_TOKENS = {
    "neighbours": 8,
    "facets": 4,
    "facts": 30,
    "questions": 16,
    "paraphrases": 16,
    "refusals": 16,
    "ask": 8,
    "judge": 64,
    "scenarios": 50,
    "two_hop": 24,
    "counterfactuals": 6,
    "passages": 220,
    "translations": 30,
}
DUMP_TOKENS = 128
"""Tokens of a memory dump, where a reply has room for them."""


@dataclass(slots=True)
class _Reckoning:
    prompts: PromptSet
    requests: float = 0.0
    tokens: float = 0.0

    def add(self, name: str, times: float, items: int = 1) -> None:
        """``times`` wishes of ``items`` items each from one prompt."""
        prompt = self.prompts.get(name)
        per_wish, per_request = requests_for(prompt, max(items, 1))
        asked = times * per_wish
        self.requests += asked
        template = prompt.path.stat().st_size / CHARACTERS_PER_TOKEN
        self.tokens += asked * (template + ITEM_TOKENS[name] * per_request)

    def add_tokens(self, times: int, tokens: int) -> None:
        """``times`` replies of so many tokens to prompts of next to none."""
        self.requests += times
        self.tokens += times * tokens


def estimate(config: Config) -> dict[str, int]:
    """Requests and tokens that the stage will take, roughly: what a generator will say is not known beforehand.

    Returns:
        ``requests`` and ``tokens``, prompts and replies together; zeros where there is no generator.

    Raises:
        DataError: The prompts cannot be read.
    """
    if config.generator.engine == "none":
        return {"requests": 0, "tokens": 0}
    settings = config.expand
    reckoning = _Reckoning(load_prompts(config.generator.prompts))
    neighbours = sum(settings.neighbours.values())
    listed = sum(not concept.forget for concept in config.concepts)
    facets = min(settings.facets, FACETS_FOUND)
    own = sum(len(c.forget) if c.forget else facets for c in config.concepts) * settings.facts_per_facet
    others = neighbours * facets * settings.facts_per_facet
    entries = sum(len(concept.keep) for concept in config.concepts) if settings.kept_facts else 0
    if neighbours:
        reckoning.add("neighbours", 1, 2 * neighbours)
    reckoning.add("facets", listed * (1 + FACET_DRAWS) + neighbours, settings.facets)
    topics = (own * (1 + SECOND_SENTENCE_TRIES) + others) / settings.facts_per_facet
    reckoning.add("facts", topics, settings.facts_per_facet)
    reckoning.add("facts", entries, settings.kept_facts)
    others += entries * settings.kept_facts  # asked for as neighbours' facts are
    reckoning.add("questions", (own + others) * (2 if settings.reverse else 1))
    if settings.paraphrases:
        reckoning.add("paraphrases", own, settings.paraphrases + 1)
    if settings.reverse > 1:
        reckoning.add("paraphrases", own, settings.reverse)
    if settings.neighbour_paraphrases:
        reckoning.add("paraphrases", others, settings.neighbour_paraphrases + 1)
    asked_back = min(settings.reverse, 1)
    reckoning.add("ask", own * (1 + settings.paraphrases + settings.reverse))
    reckoning.add("ask", others * (1 + settings.neighbour_paraphrases + asked_back))
    reckoning.add("ask", (own + others) * settings.answer_samples)
    reckoning.add("refusals", own * (3 + settings.paraphrases + settings.reverse))
    if settings.judge is not None and settings.judge.generator is None:  # another model has an account of its own
        cases = own * (4 + settings.paraphrases + settings.reverse)
        template = load_judge_prompt(config).path.stat().st_size / CHARACTERS_PER_TOKEN
        reckoning.requests += cases
        reckoning.tokens += cases * (template + ITEM_TOKENS["judge"])
    _add_further(reckoning, config, own)
    return {"requests": round(reckoning.requests), "tokens": round(reckoning.tokens)}


def _add_further(reckoning: _Reckoning, config: Config, own: int) -> None:
    """The steps that a prompt set may lack the prompt for, which are then skipped."""
    settings, prompts, concepts = config.expand, reckoning.prompts.prompts, len(config.concepts)
    if settings.scenarios and "scenarios" in prompts:
        reckoning.add("scenarios", own, settings.scenarios)
        reckoning.add("ask", own * settings.scenarios)
        reckoning.add("refusals", own * settings.scenarios)
    if settings.two_hop and "two_hop" in prompts:
        reckoning.add("two_hop", own * settings.two_hop)  # each by a wish of its own, through another fact
        reckoning.add("ask", own * settings.two_hop)
        reckoning.add("refusals", own * settings.two_hop)
    if settings.languages and "translations" in prompts:
        asked = own * len(set(settings.languages))
        reckoning.add("translations", asked)
        reckoning.add("ask", asked)
        reckoning.add("refusals", asked)
    if settings.counterfactuals and "counterfactuals" in prompts:
        reckoning.add("counterfactuals", own * (2 if settings.reverse else 1), settings.counterfactuals)
    if settings.passages and "passages" in prompts:
        reckoning.add("passages", concepts * len(LEVELS) * settings.passages)
    if settings.memory_dumps and "openings" in prompts:
        reckoning.add_tokens(concepts * settings.memory_dumps, min(DUMP_TOKENS, config.generator.max_new_tokens))
