"""The second division: which wordings of a fact are trained on, which validate, which the probe keeps for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from concept_forget.compose.splitting import Role
from concept_forget.compose.wording import words
from concept_forget.records import Question

FAMILIES = ("direct", "paraphrase", "reverse", "cloze", "scenario")
"""The families of questions that are divided; ``choice`` is made for the probe, which alone asks ``two_hop`` too."""

TRANSLATION = "translation"
"""The family of questions in other languages, which the probe alone asks as well."""

_GIVEN_UP = ("scenario", "cloze", "reverse", "paraphrase", "direct")
"""What the probe gives up first, so that a fact with few wordings is trained on at all."""

_SOURCES = ("generated", "user", "mined")
"""Wordings of the first sources are rather for the probe: a wording from the corpus may have been read in training."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """The wordings of one fact. No wording stands in two of ``train``, ``validation`` and ``probe``.

    ``check`` are wordings that the probe does not use, by which it is found out whether the base model knows the fact.
    Where every fact is trained on (``holdout: 0``), ``probe`` repeats what is trained.
    """

    train: tuple[Question, ...] = ()
    validation: tuple[Question, ...] = ()
    probe: tuple[Question, ...] = ()
    check: tuple[Question, ...] = ()


def allot(questions: Sequence[Question], role: Role, *, everything: bool = False) -> Allotment:
    """Divide the wordings of one fact.

    Of a fact that is trained on, the probe keeps the direct question, the last third of the paraphrases, and the last
    reverse, cloze and scenario wording; validation gets the ones before these where three or more are there; the rest
    is trained. A fact that the probe alone asks keeps as many wordings for it and spends the other paraphrases on the
    check, so that both tiers are asked alike.

    Args:
        questions: All wordings of the fact.
        role: Where the fact fell.
        everything: Every fact is trained on, with every wording, and asked exactly so.
    """
    families = {family: _ordered(questions, family) for family in FAMILIES}
    if everything:
        return _train_on_everything(families)
    if role == "validation":
        return Allotment(validation=tuple(known[0] for known in families.values() if known))
    train: list[Question] = []
    validation: list[Question] = []
    probe: list[Question] = list(families["direct"])
    for family in ("paraphrase", "reverse", "cloze", "scenario"):
        known = families[family]
        kept = _kept_back(family, len(known))
        probe += known[len(known) - kept :]
        rest = known[: len(known) - kept]
        if len(known) >= 3:
            validation.append(rest.pop())
        train += rest
    if role == "new_fact":
        spare = [question for question in (*train, *validation) if question.family == "paraphrase"]
        return Allotment(probe=tuple(probe), check=tuple(spare))
    train, probe = _train_on_something(train, probe)
    check = [question for question in (*train, *validation) if question.family in ("direct", "paraphrase")]
    return Allotment(tuple(train), tuple(validation), tuple(probe), tuple(check))


def keep_apart(allotments: Mapping[str, Allotment]) -> dict[str, Allotment]:
    """See to it that equal words fall on one side only, whatever facts they ask for: the probe's, else validation's."""
    probed = _wordings(question for allotment in allotments.values() for question in allotment.probe)
    validated = _wordings(question for allotment in allotments.values() for question in allotment.validation) - probed
    apart = {}
    for fact, allotment in allotments.items():
        apart[fact] = Allotment(
            _without(allotment.train, probed | validated),
            _without(allotment.validation, probed),
            allotment.probe,
            _without(allotment.check, probed),
        )
    return apart


def _ordered(questions: Sequence[Question], family: str) -> list[Question]:
    """The wordings of a family, those that are rather for training first."""
    known = [question for question in questions if question.family == family]
    return sorted(known, key=lambda question: (-_SOURCES.index(question.source), question.variant))


def _kept_back(family: str, count: int) -> int:
    """How many wordings of a family the probe keeps."""
    if family != "paraphrase":
        return min(count, 1)
    return 0 if count < 2 else max(1, round(count / 3))


def _train_on_something(train: list[Question], probe: list[Question]) -> tuple[list[Question], list[Question]]:
    for family in _GIVEN_UP:
        if train:
            break
        train = [question for question in probe if question.family == family]
        probe = [question for question in probe if question.family != family]
    return train, probe


def _train_on_everything(families: Mapping[str, Sequence[Question]]) -> Allotment:
    everything = tuple(question for known in families.values() for question in known)
    spare = tuple(families["paraphrase"][:1]) if len(families["paraphrase"]) > 1 else ()
    return Allotment(train=everything, probe=tuple(q for q in everything if q not in spare), check=spare)


def _wordings(questions: Iterable[Question]) -> set[str]:
    return {words(question.text) for question in questions}


def _without(questions: Sequence[Question], taken: set[str]) -> tuple[Question, ...]:
    return tuple(question for question in questions if words(question.text) not in taken)
