"""A method: a forget term and a weighted retain term, in one forward pass over rows of both kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.training.batches import MicroBatch, Step
from concept_forget.training.fitting import Share
from concept_forget.training.references import ReferenceProvider, ReferenceScores
from concept_forget.training.scores import Answers, answer_logits, answers_of, of_group, target_logprobs
from concept_forget.unlearn.objectives import FORGET_TERMS, RETAIN_TERMS, AnswerView, Objective, ReferenceView

FORGET, RETAIN = 0, 1
"""The groups of a step's rows."""


@dataclass(frozen=True, slots=True)
class Method:
    """``forget term + weight × retain term``; ``arguments`` are the settings that the forget term takes.

    ``grad_diff`` is ``grad_ascent`` with ``nll`` as its retain term.
    """

    forget: Objective
    arguments: dict[str, Any]
    retain: Objective | None
    weight: float

    @property
    def needs(self) -> frozenset[str]:
        """Everything either term needs."""
        return frozenset((*self.forget.needs, *(self.retain.needs if self.retain else ())))

    @property
    def needs_reference(self) -> bool:
        """Whether a reference has to be asked at all."""
        return any(need.startswith("reference.") for need in self.needs)

    @property
    def distribution_groups(self) -> tuple[int, ...]:
        """The groups whose reference distributions are needed."""
        terms = ((FORGET, self.forget), (RETAIN, self.retain))
        return tuple(group for group, term in terms if term is not None and "reference.logits" in term.needs)


def build_method(settings: UnlearnConfig) -> Method:
    """The method that a config names."""
    forget = FORGET_TERMS["grad_ascent" if settings.method == "grad_diff" else settings.method]
    retain = RETAIN_TERMS.get(settings.retain_term)
    arguments = {name: getattr(settings, name) for name in forget.settings}
    return Method(forget, arguments, retain if settings.retain_weight else None, settings.retain_weight)


class MethodLoss:
    """The method as a loss on micro-batches: each one's share, weighted by its part of the step's rows or tokens."""

    def __init__(self, method: Method, reference: ReferenceProvider | None) -> None:
        self._method = method
        self._reference = reference

    def __call__(self, model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        """The share of a micro-batch in the step's loss, and in its parts ``forget_loss`` and ``retain_loss``."""
        logits = answer_logits(model, batch)
        answers = answers_of(batch, logits.device)
        references = self._reference.scores(model, batch) if self._reference else {}
        loss = logits[:0].sum(dtype=torch.float32)  # zero, and part of the graph: a batch may hold no term's rows
        parts: dict[str, Tensor] = {}
        terms: tuple[tuple[int, str, Objective | None, dict[str, Any], float], ...] = (
            (FORGET, "forget_loss", self._method.forget, self._method.arguments, 1.0),
            (RETAIN, "retain_loss", self._method.retain, {}, self._method.weight),
        )
        for group, name, term, arguments, weight in terms:
            own = of_group(batch, answers, group)
            if term is None or not bool(own.any()):
                continue
            view = _view(logits[own], _renumbered(answers, own), references.get(group))
            part = (
                view.answers.rows / step.rows[group]
                if term.mean_over == "rows"
                else len(view.answers.targets) / step.tokens[group]
            )
            parts[name] = term.function(view, **arguments) * part
            loss = loss + weight * parts[name]
        forward_tokens = self._reference.forward_tokens(batch) if self._reference else 0
        return Share(loss, parts, forward_tokens)


def _view(logits: Tensor, answers: Answers, reference: ReferenceScores | None) -> AnswerView:
    return AnswerView(
        answers=answers,
        logprobs=target_logprobs(logits, answers.targets),
        logits=logits,
        reference=ReferenceView(answers, reference.logprobs, reference.distribution) if reference else None,
    )


def _renumbered(answers: Answers, chosen: Tensor) -> Answers:
    """Some of the answer tokens, their rows counted from 0 without gaps."""
    rows, row = answers.row[chosen].unique(return_inverse=True)
    return Answers(answers.targets[chosen], row, len(rows))
