"""Differentially private training through Opacus: what any one row can have changed is bounded, and the bound told."""

from __future__ import annotations

import importlib
import math
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concept_forget.config import UnlearnConfig
from concept_forget.errors import MissingExtraError
from concept_forget.progress import track
from concept_forget.records import named_random, named_seed
from concept_forget.training.batches import Item, MicroBatch, TokenRow, collate
from concept_forget.training.fitting import count_parameters, training_flops
from concept_forget.training.micro_batches import PartBound, over_parts
from concept_forget.unlearn.adapting import choose_parameters
from concept_forget.unlearn.result import UnlearnResult
from concept_forget.unlearn.trainings.registry import (
    Rows,
    Task,
    Trained,
    diverged,
    load_initial,
    publish,
    read_train_rows,
    training,
)


@dataclass(frozen=True, slots=True)
class PrivateSettings:
    """How weights are updated under differential privacy.

    Args:
        steps: Optimiser steps.
        sample_rate: Chance of each row to be in a step, drawn anew for every row and step (Poisson sampling).
        noise_multiplier: Standard deviation of the noise on the sum of clipped gradients, in units of
            ``max_grad_norm``; 0: none, and no privacy.
        max_grad_norm: Each row's gradient is scaled down to this norm over all trained weights.
        learning_rate: AdamW's.
        weight_decay: Decoupled.
        batch_tokens: Padded tokens whose gradients are held at once, fewer from where memory does not suffice.
        checkpoint_every: Steps between checkpoints; 0: none.
        seed: Of the draws and of the noise.
    """

    steps: int
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    learning_rate: float
    weight_decay: float
    batch_tokens: int
    checkpoint_every: int
    seed: int


@dataclass(frozen=True, slots=True)
class PrivateFit:
    """What a private fit spent: ``epsilon`` at ``delta``, infinite without noise, and padded tokens passed through."""

    epsilon: float
    delta: float
    tokens: int


@training(
    "dp_sgd",
    needs=("train_data", "initial"),
    cost="1 forward, 1 backward in every epoch, over all rows, with a gradient for each",
    source="Abadi et al. 2016, algorithm 1",
)
def dp_sgd(task: Task) -> UnlearnResult:
    """Train on all rows, those to forget among them, so that none of them can have changed much.

    θ_(t+1) = θ_t - η · Adam((Σ_i clip_C(g_i) + N(0, σ²C²)) / B), rows i drawn with probability B / n

    C is `max_grad_norm`, B `batch_size`, σ `noise_multiplier`. The guarantee is (ε, δ) for each row: whoever has k rows
    is protected by kε. Draws and noise come from the run's seed and can be repeated by whoever knows it.
    """
    assert task.initial is not None
    settings, reader = task.settings, Rows(task.initial, task.settings)
    given = read_train_rows(task)
    rows = reader.encode([row.example for row in given]).rows
    forgotten = {row.example.id for row in given if row.is_forgotten}
    model = load_initial(task)
    choose_parameters(model, settings, None)
    rate = min(1.0, settings.batch_size / len(rows))
    steps = math.ceil(settings.option("epochs") / rate)
    private = private_settings(settings, steps, rate, named_seed(task.seed, "dp_sgd"))
    folder = task.folder / "checkpoints"
    spent = fit_privately(model, rows, private, settings.option("delta"), folder, pad_token=reader.pad_token)
    shutil.rmtree(folder, ignore_errors=True)
    parameters, trained = count_parameters(model)
    details: dict[str, object] = {
        "epsilon": spent.epsilon,
        "delta": spent.delta,
        "noise_multiplier": private.noise_multiplier,
        "sample_rate": rate,
        "rows_to_forget": len(forgotten),
    }
    return publish(
        task,
        Trained(
            model, reader, steps, training_flops(parameters, trained, spent.tokens), trained,
            f"all {steps} steps done", {"train": {"rows": len(rows), "forgotten": len(forgotten)}}, details,
            settings.learning_rate,
        ),
    )  # fmt: skip


def private_settings(settings: UnlearnConfig, steps: int, rate: float, seed: int) -> PrivateSettings:
    """The settings of a private fit that a config gives."""
    return PrivateSettings(
        steps=steps,
        sample_rate=rate,
        noise_multiplier=settings.option("noise_multiplier"),
        max_grad_norm=settings.max_grad_norm,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        batch_tokens=settings.batch_tokens,
        checkpoint_every=settings.eval_every,
        seed=seed,
    )


def fit_privately(
    model: nn.Module,
    rows: Sequence[TokenRow],
    settings: PrivateSettings,
    delta: float,
    folder: Path,
    *,
    pad_token: int,
) -> PrivateFit:
    """Train ``model`` in place, from the last checkpoint in ``folder`` if there is one.

    A row's loss is the mean negative log-likelihood of its answer tokens.

    Args:
        model: A causal language model in float32.
        rows: What is trained on; each is protected by itself.
        settings: See ``PrivateSettings``.
        delta: The δ at which ε is told.
        folder: For checkpoints.
        pad_token: Fills up shorter rows.

    Raises:
        MissingExtraError: Opacus is not installed.
        OutOfMemoryError: Memory does not suffice for a single row.
        StageError: The weights became no numbers.
    """
    opacus = _opacus()
    accountant = opacus.accountants.RDPAccountant()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    plain = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    expected = max(1, round(settings.sample_rate * len(rows)))
    with _PerRowGradients(opacus, model) as passes, track("dp_sgd", total=settings.steps, unit="steps") as bar:
        optimizer = opacus.optimizers.DPOptimizer(
            plain,
            noise_multiplier=settings.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=expected,
        )
        begin, tokens, bound = _resume(model, plain, folder, settings.batch_tokens)
        bar.advance(begin)
        for step in range(settings.steps):
            if settings.noise_multiplier:
                accountant.step(noise_multiplier=settings.noise_multiplier, sample_rate=settings.sample_rate)
            if step < begin:
                continue
            device = trained[0].device
            optimizer.generator = torch.Generator(device).manual_seed(named_seed(settings.seed, "noise", step))
            tokens += _step(passes, optimizer, trained, _drawn(rows, settings, step), bound, pad_token)
            if not all(bool(weight.isfinite().all()) for weight in trained):
                raise diverged(f"a weight became no number at step {step + 1}")
            if settings.checkpoint_every and (step + 1) % settings.checkpoint_every == 0:
                _checkpoint(model, plain, folder, step + 1, tokens, bound)
            bar.advance()
    model.eval()
    epsilon = accountant.get_epsilon(delta=delta) if settings.noise_multiplier else math.inf
    return PrivateFit(float(epsilon), delta, tokens)


def _opacus() -> Any:
    try:
        opacus = importlib.import_module("opacus")
        importlib.import_module("opacus.accountants")
        importlib.import_module("opacus.optimizers")
    except ImportError as error:
        raise MissingExtraError(
            "`method: dp_sgd` needs opacus, which is not installed here",
            key="unlearn.method",
            remedy="pip install -c constraints.txt 'concept-forget[train]'",
        ) from error
    return opacus


class _PerRowGradients:
    """Passes that leave each row's gradient in ``grad_sample`` of every weight, by hooks that Opacus keeps there."""

    def __init__(self, opacus: Any, model: nn.Module) -> None:
        self._opacus, self._model = opacus, model
        self._hooked = self._with_hooks()
        model.train()

    def __enter__(self) -> _PerRowGradients:
        return self

    def __exit__(self, *error: object) -> None:
        self._remove_hooks()

    def __call__(self, batch: MicroBatch) -> int:
        """One pass; gives its padded tokens. One that fails leaves nothing behind of which the next could take some."""
        try:
            with warnings.catch_warnings():
                # Embeddings take token numbers, which have no gradient; that of the weights comes all the same.
                warnings.filterwarnings("ignore", message="Full backward hook is firing")
                row_losses(self._hooked, batch).sum().backward()
        except (MemoryError, RuntimeError):
            self._remove_hooks()
            self._model.zero_grad(set_to_none=True)
            self._hooked = self._with_hooks()
            raise
        return batch.padded_tokens

    def _with_hooks(self) -> nn.Module:
        hooked: nn.Module = self._opacus.GradSampleModule(
            self._model, batch_first=True, loss_reduction="sum", strict=False
        )
        return hooked

    def _remove_hooks(self) -> None:
        self._hooked.to_standard_module()  # type: ignore[operator]  # Opacus's
        for module in self._model.modules():
            for left in ("activations", "max_batch_len"):  # by a pass that did not come to its end
                vars(module).pop(left, None)


def _drawn(rows: Sequence[TokenRow], settings: PrivateSettings, step: int) -> list[Item]:
    rng = named_random(settings.seed, "draw", step)
    return [Item(0, index, row) for index, row in enumerate(rows) if rng.random() < settings.sample_rate]


def _step(
    passes: _PerRowGradients,
    optimizer: Any,
    trained: Sequence[nn.Parameter],
    items: Sequence[Item],
    bound: PartBound,
    pad_token: int,
) -> int:
    """One step over the rows drawn, parted so that their gradients fit into memory; gives padded tokens."""
    tokens = 0
    for _, passed in over_parts(items, bound, lambda part: passes(collate(part, pad_token))):
        tokens += passed
        optimizer.signal_skip_step(do_skip=True)
        optimizer.step()
        optimizer.zero_grad()
    # The parts are clipped and added up: the noise comes on their sum, and where nobody was drawn, all the same.
    for weight in trained:
        weight.grad_sample = weight.new_zeros((0, *weight.shape))  # type: ignore[attr-defined]  # Opacus reads it
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return tokens


def row_losses(model: nn.Module, batch: MicroBatch) -> Tensor:
    """The mean negative log-likelihood of each row's answer tokens: (rows,).

    Every position passes the output layer: a gradient of each row is only to be had where rows stay apart.
    """
    device = next(model.parameters()).device
    tokens = batch.tokens.to(device)
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    counts = batch.is_answer[:, 1:].to(device)  # (rows, width - 1)
    logprobs = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return -(logprobs * counts).sum(1) / counts.sum(1)


def _checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, step: int, tokens: int, bound: PartBound
) -> None:
    """Keep weights and optimiser as they are, and nothing older."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "private.tmp"
    state = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "tokens": tokens,
        "batch_tokens": bound.tokens,
    }  # fmt: skip
    torch.save(state, beside)
    beside.replace(folder / "private.pt")


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, batch_tokens: int
) -> tuple[int, int, PartBound]:
    """Take up the last checkpoint; gives the steps done, the tokens passed through and what a part may hold."""
    path = folder / "private.pt"
    if not path.is_file():
        return 0, 0, PartBound(batch_tokens)
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), int(state["tokens"]), PartBound(int(state["batch_tokens"]))
