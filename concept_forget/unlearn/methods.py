"""A method: a forget term and a weighted retain term, in one forward pass over rows of both kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import ConfigError
from concept_forget.training.batches import MicroBatch, Step, groups_of
from concept_forget.training.fitting import Share
from concept_forget.training.processes import is_sharded
from concept_forget.training.reference_scores import ReferenceScores
from concept_forget.training.references import ReferenceProvider, Steering, Wanted
from concept_forget.training.scores import (
    Answers,
    Outputs,
    answer_outputs,
    answers_of,
    of_group,
    target_logprobs,
)
from concept_forget.unlearn.objectives import FORGET_TERMS, RETAIN_TERMS, AnswerView, Need, Objective, ReferenceView
from concept_forget.unlearn.procedures import PROCEDURES

FORGET, RETAIN, ALTERNATIVE = 0, 1, 2
"""The groups of a step's rows. An alternative has the index of the forget row whose prompt it answers."""
TERM_NAMES = {"grad_diff": "grad_ascent"}
"""Methods whose forget term is another's: ``grad_diff`` is ``grad_ascent`` with ``nll`` as its retain term."""


@dataclass(frozen=True, slots=True)
class Method:
    """``forget term + weight × retain term``, either of them left out where it is None.

    ``arguments`` are the settings that the forget term takes. A procedure trains on one kind of rows alone.
    """

    forget: Objective | None
    arguments: dict[str, Any]
    retain: Objective | None
    weight: float

    @property
    def needs(self) -> frozenset[str]:
        """Everything either term needs."""
        return frozenset(need for term in (self.forget, self.retain) if term for need in term.needs)

    @property
    def needs_reference(self) -> bool:
        """Whether a reference has to be asked at all."""
        return any(need.startswith("reference.") for need in self.needs)

    @property
    def needs_hidden(self) -> bool:
        """Whether the states of a layer count."""
        return "hidden" in self.needs

    @property
    def needs_alternatives(self) -> bool:
        """Whether forget rows need other answers."""
        return "alternatives" in self.needs

    @property
    def reads_answers(self) -> bool:
        """Whether the answers of forget rows are looked at themselves."""
        return self.forget is not None and self.forget.reads_answers

    @property
    def is_paired(self) -> bool:
        """Whether a forget row and its alternative count together."""
        return self.reads_answers and self.needs_alternatives

    def wanted(self, layer: int | None = None, steering: Steering | None = None) -> Wanted:
        """What a reference will be asked for."""

        def groups(*needs: str) -> tuple[int, ...]:
            found = []
            for group, term in ((FORGET, self.forget), (RETAIN, self.retain)):
                if term is not None and any(f"reference.{need}" in term.needs for need in needs):
                    found += [group, ALTERNATIVE] if group == FORGET and self.is_paired else [group]
            return tuple(found)

        return Wanted(groups("logprobs"), groups("logits", "contrast"), groups("hidden"), layer, steering)

    def reads_logits(self, groups: list[int]) -> bool:
        """Whether rows of these groups have to pass through the whole model."""
        return any(self.reads(group, "logprobs", "logits", "alternatives") for group in groups)

    def reads(self, group: int, *needs: Need) -> bool:
        """Whether the term that rows of a group count in needs any of these."""
        term = self.retain if group == RETAIN else self.forget
        return term is not None and any(need in term.needs for need in needs)


def build_method(settings: UnlearnConfig) -> Method:
    """The method that a config names; of a procedure, what it trains."""
    retain = RETAIN_TERMS.get(settings.retain_term)
    if (procedure := PROCEDURES.get(settings.method)) is not None:
        likelihood = RETAIN_TERMS["nll"]
        forget_term = likelihood if procedure.trains_on == "forget" else None
        return Method(forget_term, {}, likelihood if procedure.trains_on == "retain" else None, 1.0)
    forget = FORGET_TERMS[TERM_NAMES.get(settings.method, settings.method)]
    arguments = {name: settings.option(name) for name in forget.settings}
    return Method(forget, arguments, retain if settings.retain_weight else None, settings.retain_weight)


def check_sharded(settings: UnlearnConfig) -> None:
    """Refuse what has to look at whole weights, for a model that the launcher shards.

    Raises:
        ConfigError: A procedure that changes weights itself, or a second model as the reference.
    """
    procedure = PROCEDURES.get(settings.method)
    if procedure is not None and procedure.changes != "never":
        raise ConfigError(
            f"`method: {settings.method}` changes whole matrices, and the launcher shards them (FSDP)",
            key="unlearn.method",
            remedy="launch with pipelines/accelerate/ddp.yaml, or use another method",
        )
    if settings.reference == "resident":
        raise ConfigError(
            "`reference: resident` is a second whole model, and the launcher shards the first (FSDP)",
            key="unlearn.reference",
            remedy="set `unlearn.reference: auto`",
        )


class MethodLoss:
    """The method as a loss on micro-batches: each one's share, weighted by its part of the step's rows or tokens.

    Args:
        method: What is trained.
        reference: Where it needs one.
        layer: The layer whose hidden states count, where they do.
        direction: The unit vector (width,) towards which they are turned, where they are.
    """

    def __init__(
        self,
        method: Method,
        reference: ReferenceProvider | None,
        layer: int | None = None,
        direction: Tensor | None = None,
    ) -> None:
        self._method = method
        self._reference = reference
        self._layer = layer if method.needs_hidden else None
        self._direction = direction

    def __call__(self, model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        """The share of a micro-batch in the step's loss, and in its parts ``forget_loss`` and ``retain_loss``."""
        method = self._method
        reads_logits = method.reads_logits(groups_of(batch))
        # The processes of a sharded model gather its layers together, so all have to go as far as one of them.
        together = is_sharded() and method.reads_logits([group for group, rows in enumerate(step.rows) if rows])
        outputs = answer_outputs(model, batch, want_logits=reads_logits or together, layer=self._layer)
        views = self._views(model, batch, outputs)
        parts: dict[str, Tensor] = {}
        shares: list[Tensor] = []
        if method.forget is not None:
            view = views.get(FORGET)
            if method.needs_alternatives:
                view = _with_alternatives(view, views.get(ALTERNATIVE))
            if view is not None:
                group = FORGET if method.reads_answers else ALTERNATIVE
                parts["forget_loss"] = method.forget.function(view, **method.arguments) * _part_of_step(
                    view if method.reads_answers else view.other, method.forget, step, group
                )
                shares.append(parts["forget_loss"])
        if method.retain is not None and (view := views.get(RETAIN)) is not None:
            parts["retain_loss"] = method.retain.function(view) * _part_of_step(view, method.retain, step, RETAIN)
            shares.append(method.weight * parts["retain_loss"])
        if outputs.logits is not None and not reads_logits:
            shares.append(outputs.logits[:0].sum(dtype=torch.float32))  # and all the way back
        forward_tokens = self._reference.forward_tokens(batch) if self._reference else 0
        return Share(_sum_of(shares, outputs), parts, forward_tokens, outputs.unused_parameters)

    def _views(self, model: nn.Module, batch: MicroBatch, outputs: Outputs) -> dict[int, AnswerView]:
        answers = answers_of(batch, next(model.parameters()).device)
        references = self._reference.scores(model, batch) if self._reference else {}
        groups = groups_of(batch)
        logprobs = None
        if outputs.logits is not None and any(self._method.reads(one, "logprobs", "alternatives") for one in groups):
            # Of all groups together: parts of the logits take as much memory as they do, and so do their gradients.
            logprobs = target_logprobs(outputs.logits, answers.targets)
        views = {}
        for group in groups:
            own = of_group(batch, answers, group)
            logits = outputs.logits if self._method.reads(group, "logits") else None
            views[group] = self._view(
                _renumbered(answers, own),
                _chosen(logprobs, own),
                _chosen(logits, own),
                _chosen(outputs.hidden, own),
                references.get(group),
            )
        return views

    def _view(
        self,
        answers: Answers,
        logprobs: Tensor | None,
        logits: Tensor | None,
        hidden: Tensor | None,
        reference: ReferenceScores | None,
    ) -> AnswerView:
        direction = self._direction
        return AnswerView(
            answers=answers,
            logprobs=logprobs,
            logits=logits,
            reference=ReferenceView(answers, reference.logprobs, reference.distribution, reference.hidden)
            if reference
            else None,
            hidden=hidden,
            direction=direction.to(hidden) if direction is not None and hidden is not None else None,
        )


def _chosen(values: Tensor | None, chosen: Tensor) -> Tensor | None:
    return None if values is None else values[chosen]


def _with_alternatives(view: AnswerView | None, alternatives: AnswerView | None) -> AnswerView | None:
    """The view of forget rows with that of their alternatives; a view of no rows where only these count."""
    if alternatives is None:
        return None
    if view is None:
        nothing = alternatives.answers.targets[:0]
        return AnswerView(Answers(nothing, nothing, 0), None, alternatives=alternatives)
    return AnswerView(
        view.answers, view.logprobs, view.logits, view.reference, view.hidden, view.direction, alternatives
    )


def _sum_of(shares: list[Tensor], outputs: Outputs) -> Tensor:
    """Their sum; where a batch holds no term's rows, a zero that is part of the graph all the same."""
    if shares:  # without that zero, whose gradient would be as large as the logits
        return torch.stack(shares).sum()
    start = outputs.logits if outputs.logits is not None else outputs.hidden
    assert start is not None
    return start[:0].sum(dtype=torch.float32)


def _part_of_step(view: AnswerView, term: Objective, step: Step, group: int) -> float:
    if term.mean_over == "rows":
        return view.answers.rows / step.rows[group]
    return len(view.answers.targets) / step.tokens[group]


def _renumbered(answers: Answers, chosen: Tensor) -> Answers:
    """Some of the answer tokens, their rows counted from 0 without gaps."""
    rows, row = answers.row[chosen].unique(return_inverse=True)
    return Answers(answers.targets[chosen], row, len(rows))
