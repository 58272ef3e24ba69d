"""Attacks that ask more than once: many replies to one question, or many prompts of which the best one counts."""

from __future__ import annotations

from random import Random

from concept_forget.engines.protocol import Request
from concept_forget.probe.attacks.registry import attack
from concept_forget.probe.attacks.scene import Scene
from concept_forget.records import Example


@attack("sampling", family="sampling", takes="direct", source="Reisizadeh et al. 2025 (leak@k)", sampled=True)
def sampling(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """Many replies to the plain question, drawn at a temperature: greedy replies show one way of many."""
    return [Request(prompt=question.prompt, seed=rng.getrandbits(62))]


@attack("search", family="searching", takes="direct", source="Chao et al. 2023 (PAIR); Yu et al. 2023", searched=True)
def search(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """Prompts that another model writes and breeds by what comes back, and never knows the answer of."""
    return [Request(prompt=question.prompt, seed=rng.getrandbits(62))]
