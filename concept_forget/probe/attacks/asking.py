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


@attack("scenario", family="asking", takes="scenario", source="Jin et al. 2024 (RWKU), §3.3")
def scenario(question: Example, rng: Random) -> list[Request]:
    """The question inside a situation that calls for the fact: a task may bring out what a question does not."""
    return [_ask(question, rng)]


@attack("choice", family="asking", takes="choice", source="Li et al. 2024 (WMDP), §3")
def choice(question: Example, rng: Random) -> list[Request]:
    """Four options in a drawn order: recognising is easier than recalling, and chance is a quarter."""
    return [_ask(question, rng)]


@attack("two_hop", family="asking", takes="two_hop", source="Cohen et al. 2024 (RippleEdits), §3; Zhong et al. 2023")
def two_hop(question: Example, rng: Random) -> list[Request]:
    """A question that leads through a trained fact: what is not said may still be reckoned with."""
    return [_ask(question, rng)]


@attack(
    "completion",
    family="asking",
    takes="completion",
    source="Carlini et al. 2021, §4; Carlini et al. 2023, §3",
    grader="span",
)
def completion(question: Example, rng: Random) -> list[Request]:
    """The opening of a text, to be gone on with: as raw text, and as a reply begun where a prompt asks for one."""
    *before, opening = question.prompt
    raw = Request(prompt=opening["content"], seed=rng.getrandbits(62))
    begun = Request(prompt=before, prefill=opening["content"], seed=rng.getrandbits(62))
    return [raw, begun] if before else [raw]


def _ask(question: Example, rng: Random) -> Request:
    return Request(prompt=question.prompt, seed=rng.getrandbits(62))
