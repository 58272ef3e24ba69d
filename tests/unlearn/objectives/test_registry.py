from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest

from concept_forget.config import METHOD_OPTIONS, MethodName, RetainName
from concept_forget.unlearn.methods import TERM_NAMES
from concept_forget.unlearn.objectives import FORGET_TERMS, RETAIN_TERMS, AnswerView, Objective, ReferenceView
from concept_forget.unlearn.procedures import PROCEDURES
from concept_forget.unlearn.trainings import TRAININGS

TERMS = [*FORGET_TERMS.values(), *RETAIN_TERMS.values()]


def bare(view: AnswerView, needs: tuple[str, ...]) -> AnswerView:
    """The view with what is declared, and nothing else."""
    reference = None
    if view.reference is not None and any(need.startswith("reference.") for need in needs):
        told = "reference.logits" in needs or "reference.contrast" in needs
        reference = ReferenceView(
            view.answers,
            view.reference.logprobs if "reference.logprobs" in needs else None,
            view.reference.distribution if told else None,
            view.reference.hidden if "reference.hidden" in needs else None,
        )
    return AnswerView(
        view.answers,
        view.logprobs if "logprobs" in needs else None,
        view.logits if "logits" in needs else None,
        reference,
        view.hidden if "hidden" in needs else None,
        view.direction if "hidden" in needs else None,
        bare(view.alternatives, ("logprobs", *needs)) if view.alternatives and "alternatives" in needs else None,
    )


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_gets_by_with_what_it_declares(case: Any, term: Objective) -> None:
    full = case.seen()
    arguments = dict.fromkeys(term.settings, 0.5)
    assert float(term.function(bare(full, term.needs), **arguments)) == float(term.function(full, **arguments))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_needs_all_that_it_declares(case: Any, term: Objective) -> None:
    full = case.seen()
    arguments = dict.fromkeys(term.settings, 0.5)
    for need in term.needs:
        less = tuple(other for other in term.needs if other != need)
        view = bare(full, less)
        if view.alternatives is not None and need in ("logprobs", "reference.logprobs"):
            view = dataclasses.replace(view, logprobs=None, reference=None)
        with pytest.raises(AssertionError):
            term.function(view, **arguments)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_every_term_says_its_formula_and_where_it_comes_from(term: Objective) -> None:
    assert term.source
    assert "\n    L = mean" in (text := term.function.__doc__ or "") or "\n    L = -" in text


def test_every_method_of_the_config_is_registered_and_every_registered_one_can_be_named() -> None:
    named = {TERM_NAMES.get(name, name) for name in get_args(MethodName)}
    assert named == FORGET_TERMS.keys() | PROCEDURES.keys() | TRAININGS.keys()
    assert set(get_args(RetainName)) == {"none", *RETAIN_TERMS}


def test_the_options_of_the_config_are_those_that_methods_take() -> None:
    taken = {(option, name) for name, entry in {**FORGET_TERMS, **PROCEDURES}.items() for option in entry.settings}
    offered = {
        (option, name) for option, methods in METHOD_OPTIONS.items() for name in methods if name not in TRAININGS
    }
    of_rows = {("alternative", name) for name, term in FORGET_TERMS.items() if "alternatives" in term.needs}
    of_the_reference = {("strength", "elm")}
    assert offered == taken | of_rows | of_the_reference
