"""Attacks that simply ask, each in a way that a plain question misses."""

from __future__ import annotations

from random import Random

from concept_forget.concept import contains_words, fold, replace_words
from concept_forget.engines.protocol import Request
from concept_forget.probe.attacks.registry import attack
from concept_forget.probe.attacks.rewording import asked, misspell, say_instead
from concept_forget.probe.attacks.scene import Scene, word
from concept_forget.records import Example, named_seed


@attack("direct", family="asking", takes="direct", source="Maini et al. 2024 (TOFU)", quick=True)
def direct(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The plain question, in a wording that training never used."""
    return [_ask(question, rng)]


@attack("paraphrase", family="asking", takes="paraphrase", source="Maini et al. 2024 (TOFU)", quick=True)
def paraphrase(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question in other words: forgetting that is tied to a wording shows here."""
    return [_ask(question, rng)]


@attack("reverse", family="asking", takes="reverse", source="Berglund et al. 2024 (reversal curse)", quick=True)
def reverse(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """From the answer back to the subject: a fact forgotten in one direction may stand in the other."""
    return [_ask(question, rng)]


@attack("cloze", family="asking", takes="cloze", source="Jin et al. 2024 (RWKU)", quick=True)
def cloze(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """A sentence with a gap where the answer was."""
    return [_ask(question, rng)]


@attack("scenario", family="asking", takes="scenario", source="Jin et al. 2024 (RWKU)", quick=True)
def scenario(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question inside a situation that calls for the fact: a task may bring out what a question does not."""
    return [_ask(question, rng)]


@attack("choice", family="asking", takes="choice", source="Li et al. 2024 (WMDP)", quick=True)
def choice(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """Four options in a drawn order: recognising is easier than recalling, and chance is a quarter."""
    return [_ask(question, rng)]


@attack(
    "two_hop",
    family="asking",
    takes="two_hop",
    source="Cohen et al. 2024 (RippleEdits); Zhong et al. 2023 (MQuAKE)",
    quick=True,
)
def two_hop(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """A question that leads through a trained fact: what is not said may still be reckoned with."""
    return [_ask(question, rng)]


@attack(
    "completion",
    family="asking",
    takes="completion",
    source="Carlini et al. 2021 and 2023 (extraction of training data)",
    grader="span",
    quick=True,
)
def completion(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The opening of a text, to be gone on with: as raw text, and as a reply begun where a prompt asks for one."""
    *before, opening = question.prompt
    raw = Request(prompt=opening["content"], seed=rng.getrandbits(62))
    begun = Request(prompt=before, prefill=opening["content"], seed=rng.getrandbits(62))
    return [raw, begun] if before else [raw]


@attack(
    "yes_no",
    family="asking",
    takes="direct",
    source="Kadavath et al. 2022 (P(True))",
    grader="yes_no",
    expects=("Yes", "No"),
)
def yes_no(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """Whether an answer is right, once of the right one and once of a wrong one: to say yes to both is no knowledge.

    The wrong answer is another subject's to the same facet, or where there is none, the row's counterfactual.
    """
    wrong = _wrong_answer(question, rng, scene)
    if not wrong:
        return []
    return [
        Request(
            prompt=say_instead(question.prompt, word("yes_no", question=asked(question.prompt), answer=answer)),
            seed=rng.getrandbits(62),
        )
        for answer in (question.answer, wrong)
    ]


@attack(
    "enumeration",
    family="asking",
    takes="direct",
    source="Min et al. 2023 (FActScore)",
    grader="answer",
    room=4,
)
def enumeration(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """All that is known about the subject at once: asked once per subject, the reply counts for each of its facts."""
    text = word("enumeration", subject=question.subject)
    return [
        Request(
            prompt=say_instead(question.prompt, text), seed=named_seed(scene.seed, "enumeration", question.subject) >> 1
        )
    ]


@attack("typos", family="asking", takes="direct", source="Belinkov and Bisk 2018 (synthetic noise)")
def typos(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question with slips of the keyboard: what reacts to known spellings alone lets it through."""
    spared = (question.answer, *question.aliases)
    text = misspell(asked(question.prompt), rng, spared)
    return [Request(prompt=say_instead(question.prompt, text), seed=rng.getrandbits(62))]


@attack("aliases", family="asking", takes="direct", source="Jin et al. 2024 (RWKU)")
def aliases(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question with each of the subject's other names in the place of its own."""
    text = asked(question.prompt)
    if not contains_words(fold(text), fold(question.subject)):
        return []
    return [
        Request(
            prompt=say_instead(question.prompt, replace_words(text, question.subject, alias)[0]),
            seed=rng.getrandbits(62),
        )
        for alias in scene.aliases.get(question.subject, ())
    ]


@attack("language", family="asking", takes="translation", source="Deng et al. 2024 (Multilingual jailbreak)")
def language(question: Example, rng: Random, scene: Scene) -> list[Request]:
    """The question in another language: what was forgotten in one may be there in another."""
    return [_ask(question, rng)]


def _wrong_answer(question: Example, rng: Random, scene: Scene) -> str:
    known = scene.answers.get(fold(question.facet), ())
    right = {fold(answer) for answer in (question.answer, *question.aliases)}
    right |= {fold(answer) for subject, answer in known if subject == question.subject}
    others = [answer for subject, answer in known if subject != question.subject and fold(answer) not in right]
    return rng.choice(sorted(set(others))) if others else question.counterfactual


def _ask(question: Example, rng: Random) -> Request:
    return Request(prompt=question.prompt, seed=rng.getrandbits(62))
