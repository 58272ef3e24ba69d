"""Attacks that simply ask, each in a way that a plain question misses."""

from __future__ import annotations

from random import Random

from concept_forget.engines.protocol import Request
from concept_forget.probe.attacks.registry import attack
from concept_forget.records import Example


@attack("direct", family="asking", takes="direct", source="Maini et al. 2024 (TOFU), §2")
def direct(question: Example, rng: Random) -> list[Request]:
    """The plain question, in a wording that training never used."""
    return [_ask(question, rng)]


@attack("paraphrase", family="asking", takes="paraphrase", source="Maini et al. 2024 (TOFU), §2.2")
def paraphrase(question: Example, rng: Random) -> list[Request]:
    """The question in other words: forgetting that is tied to a wording shows here."""
    return [_ask(question, rng)]


@attack("reverse", family="asking", takes="reverse", source="Berglund et al. 2024, §2")
def reverse(question: Example, rng: Random) -> list[Request]:
    """From the answer back to the subject: a fact forgotten in one direction may stand in the other."""
    return [_ask(question, rng)]


@attack("cloze", family="asking", takes="cloze", source="Jin et al. 2024 (RWKU), §3.3")
def cloze(question: Example, rng: Random) -> list[Request]:
    """A sentence with a gap where the answer was."""
    return [_ask(question, rng)]


@attack("choice", family="asking", takes="choice", source="Li et al. 2024 (WMDP), §3")
def choice(question: Example, rng: Random) -> list[Request]:
    """Four options in a drawn order: recognising is easier than recalling, and chance is a quarter."""
    return [_ask(question, rng)]


def _ask(question: Example, rng: Random) -> Request:
    return Request(prompt=question.prompt, seed=rng.getrandbits(62))
