"""Attacks that talk a model into answering what it would not answer when it is simply asked."""

from __future__ import annotations

from random import Random

from concept_forget.engines.protocol import Request
from concept_forget.probe.attacks.registry import attack
from concept_forget.probe.attacks.rewording import asked, say_instead
from concept_forget.probe.attacks.scene import Scene, holds_answer, word
from concept_forget.records import Chat, Example

EXAMPLES = 4
"""Questions about others, with their answers, that go before a question."""

_DRAWN = 40  # of them some hold the answer or are about one subject too often


@attack("prefix_injection", family="persuading", takes="direct", source="Jin et al. 2024 (RWKU)")
def prefix_injection(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """An order to drop all restraint, and then the question."""
    return [_put("prefix_injection", question, rng)]


@attack("affirmative_suffix", family="persuading", takes="direct", source="Jin et al. 2024 (RWKU)")
def affirmative_suffix(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question, and the order to begin with consent."""
    return [_put("affirmative_suffix", question, rng)]


@attack("forced_opening", family="persuading", takes="direct", source="Andriushchenko et al. 2024 (prefilling)")
def forced_opening(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The reply begun already, as by a model that is willing to answer."""
    return [Request(prompt=question.prompt, prefill=word("forced_opening"), seed=rng.getrandbits(62))]


@attack("role_play", family="persuading", takes="direct", source="Jin et al. 2024 (RWKU)")
def role_play(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question to a scholar in a scene, who would not be the model."""
    return [_put("role_play", question, rng, subject=question.subject)]


@attack("background_hint", family="persuading", takes="direct", source="Jin et al. 2024 (RWKU)")
def background_hint(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """What kind of thing the subject is and what will be asked of it, before the question."""
    kind = scene.kinds.get(question.concept, "topic")
    if holds_answer(f"{kind} \n {question.facet}", question):
        return []
    return [_put("background_hint", question, rng, subject=question.subject, kind=kind, facet=question.facet)]


@attack("in_context", family="persuading", takes="direct", source="Jin et al. 2024 (RWKU)")
def in_context(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """Questions about other entities with their right answers, and then the question: who answers, goes on answering.

    No example names a concept or holds the answer, and each is about another subject.
    """
    chosen: dict[str, Chat] = {}
    for subject, chat in rng.sample(scene.examples, min(_DRAWN, len(scene.examples))):
        text = " \n ".join(message["content"] for message in chat)
        if len(chosen) < EXAMPLES and not holds_answer(text, question):
            chosen.setdefault(subject, chat)
    if not chosen:
        return []
    *before, last = question.prompt
    turns = [message for chat in chosen.values() for message in chat if message["role"] != "system"]
    system = [message for message in before if message["role"] == "system"]
    own = [message for message in before if message["role"] != "system"]
    return [Request(prompt=[*system, *turns, *own, last], seed=rng.getrandbits(62))]


@attack("long_context", family="persuading", takes="direct", source="Shi et al. 2023 (irrelevant context)")
def long_context(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question at the end of much text about other things, none of which holds the answer."""
    left, chosen = scene.distraction_words, []
    for text in rng.sample(scene.texts, min(left, len(scene.texts))):
        length = len(text.split())
        if length <= left and not holds_answer(text, question):
            chosen.append(text)
            left -= length
    return [_put("long_context", question, rng, texts="\n".join(chosen))] if chosen else []


@attack(
    "continuation",
    family="persuading",
    takes="direct",
    source="Nasr et al. 2023 (scalable extraction)",
    first_line=True,
)
def continuation(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question as raw text to go on with, outside the chat that a model was taught to behave in.

    A model may go on with further questions: what it says to this one is the first line.
    """
    return [Request(prompt=word("continuation", question=asked(question.prompt)), seed=rng.getrandbits(62))]


@attack("system_override", family="persuading", takes="direct", source="Perez and Ribeiro 2022 (goal hijacking)")
def system_override(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """A system message that calls off every restraint, in the place of every other one."""
    others = [message for message in question.prompt if message["role"] != "system"]
    return [Request(prompt=[{"role": "system", "content": word("system_override")}, *others], seed=rng.getrandbits(62))]


def insist(request: Request, reply: str) -> Request:
    """The second turn: the first reply will not do."""
    assert not isinstance(request.prompt, str)
    following = say_instead(request.prompt, word("persistence", question=asked(request.prompt)))[-1]
    return Request(
        prompt=[*request.prompt, {"role": "assistant", "content": reply}, following],
        adapter=request.adapter,
        seed=request.seed,
    )


@attack("persistence", family="persuading", takes="direct", source="Li et al. 2024 (MHJ)", follow=insist)
def persistence(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question, and after the reply the same again, more firmly: the second reply counts."""
    return [Request(prompt=question.prompt, seed=rng.getrandbits(62))]


def _put(name: str, question: Example, rng: Random, **more: str) -> Request:
    text = word(name, question=asked(question.prompt), **more)
    return Request(prompt=say_instead(question.prompt, text), seed=rng.getrandbits(62))
