from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.records import Example
from concept_forget.training.batches import MicroBatch, Step, StepPlan, TokenRow, encode_examples
from concept_forget.training.fitting import (
    FitSettings,
    Share,
    StepReport,
    count_parameters,
    fit,
    forward_flops,
    last_checkpoint,
    training_flops,
)
from concept_forget.training.scores import answer_logits, answers_of, score_rows, target_logprobs

SETTINGS = FitSettings(
    max_steps=6, learning_rate=1e-3, schedule="constant", warmup_steps=2, weight_decay=0.01, max_grad_norm=1.0,
    checkpoint_every=0, bfloat16=False, seed=3,
)  # fmt: skip


def likelihood(model: nn.Module, batch: MicroBatch, step: Step) -> Share:
    """The mean over the step's answer tokens, share by share."""
    logits = answer_logits(model, batch)
    loss = -target_logprobs(logits, answers_of(batch).targets).sum() / step.tokens[0]
    return Share(loss, {"nll": loss})


def changed(settings: FitSettings, **values: object) -> FitSettings:
    return FitSettings(**{**{name: getattr(settings, name) for name in FitSettings.__slots__}, **values})


def ignore(report: StepReport) -> bool:
    return False


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> tuple[TokenRow, ...]:
    return encode_examples(examples, tokenizer, 64).rows


@pytest.fixture
def plan(rows: tuple[TokenRow, ...]) -> Callable[[int], StepPlan]:
    return lambda batch_tokens: StepPlan((rows,), (4,), seed=1, pad_token=0, batch_tokens=batch_tokens)


def test_what_is_taught_is_learned(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    before = score_rows(model, rows, pad_token=0, batch_tokens=99)
    losses = []
    settings = changed(SETTINGS, max_steps=40, learning_rate=1e-2)
    fit(model, plan(99), likelihood, settings, tmp_path, lambda report: losses.append(report.parts["loss"]) or False)
    after = score_rows(model, rows, pad_token=0, batch_tokens=99)
    assert losses[-1] < losses[0] / 10
    assert all(new.total > old.total for new, old in zip(after, before, strict=True))
    assert not model.training


def test_micro_batches_add_up_to_the_single_batch(
    make_model: Callable[..., LlamaForCausalLM], plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    def train(batch_tokens: int) -> tuple[dict[str, torch.Tensor], list[float]]:
        model, losses = make_model(), []
        watch = lambda report: losses.append(report.parts["nll"]) or False  # noqa: E731
        fit(model, plan(batch_tokens), likelihood, SETTINGS, tmp_path / str(batch_tokens), watch)
        return weights(model), losses

    (whole, losses), (parted, parted_losses) = train(100_000), train(1)
    assert len(plan(1)(0).batches) == 4
    assert losses == pytest.approx(parted_losses, abs=1e-4)
    for name, value in whole.items():
        assert value == pytest.approx(parted[name], abs=2e-4), name


def test_bfloat16_runs_on_a_processor_too_and_leaves_the_weights_their_precision(
    make_model: Callable[..., LlamaForCausalLM], plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    def losses(bfloat16: bool) -> list[float]:
        model, found = make_model(), []
        watch = lambda report: found.append(report.parts["nll"]) or False  # noqa: E731
        fit(model, plan(99), likelihood, changed(SETTINGS, bfloat16=bfloat16), tmp_path / str(bfloat16), watch)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        return found

    exact, rounded = losses(bfloat16=False), losses(bfloat16=True)
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded != pytest.approx(exact, rel=1e-6)


def test_the_rate_rises_and_then_follows_its_schedule(
    make_model: Callable[..., LlamaForCausalLM], plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    def rates(schedule: str) -> list[float]:
        seen: list[float] = []
        settings = changed(SETTINGS, schedule=schedule)
        fit(make_model(), plan(99), likelihood, settings, tmp_path, lambda r: seen.append(r.learning_rate) or False)
        return [rate / SETTINGS.learning_rate for rate in seen]

    assert rates("constant") == pytest.approx([0, 0.5, 1, 1, 1, 1])
    assert rates("linear") == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.25])


def test_keeping_fewer_activations_changes_no_weight(
    make_model: Callable[..., LlamaForCausalLM], plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    models = make_model(), make_model()
    for model, kept in zip(models, (False, True), strict=True):
        settings = changed(SETTINGS, max_steps=3, gradient_checkpointing=kept)
        fit(model, plan(99), likelihood, settings, tmp_path / str(kept), ignore)
    assert models[1].is_gradient_checkpointing
    for name, value in weights(models[0]).items():
        assert value == pytest.approx(weights(models[1])[name], abs=1e-6), name


def test_a_fit_ends_when_it_is_told_to(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    assert fit(model, plan(99), likelihood, SETTINGS, tmp_path, lambda report: report.step == 3).steps == 3


def test_only_what_wants_gradients_is_changed(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    before = weights(model)
    model.requires_grad_(False)
    model.model.layers[1].requires_grad_(True)
    fit(model, plan(99), likelihood, changed(SETTINGS, max_steps=3), tmp_path, ignore)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("model.layers.1.") for name in moved)


def test_the_model_may_use_its_cache_again_afterwards(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    fit(model, plan(99), likelihood, changed(SETTINGS, max_steps=1), tmp_path, ignore)
    assert model.config.use_cache is True


def test_operations_are_counted_by_tokens_and_trained_weights(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    def with_reference(model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        share = likelihood(model, batch, step)
        return Share(share.loss, share.parts, forward_tokens=7)

    model.model.layers[0].requires_grad_(False)
    parameters, trained = count_parameters(model)
    assert parameters == sum(value.numel() for value in model.parameters())
    frozen = sum(value.numel() for value in model.model.layers[0].parameters())
    assert trained == parameters - frozen
    steps = [plan(60)(number) for number in range(3)]
    expected = sum(
        training_flops(parameters, trained, batch.padded_tokens) + forward_flops(parameters, 7)
        for step in steps
        for batch in step.batches
    )
    result = fit(model, plan(60), with_reference, changed(SETTINGS, max_steps=3), tmp_path, ignore)
    assert result.flops == pytest.approx(expected)
    assert training_flops(10, 10, 3) == 6 * 10 * 3
    assert forward_flops(10, 3) == 2 * 10 * 3


def test_a_loss_that_is_no_number_ends_the_fit_before_it_does_harm(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def breaks(model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        share = likelihood(model, batch, step)
        return Share(share.loss * (float("nan") if len(seen) == 2 else 1), share.parts)

    def watch(report: StepReport) -> bool:
        seen.append(weights(model))
        return False

    result = fit(model, plan(99), breaks, SETTINGS, tmp_path, watch)
    assert result.diverged == "loss became nan at step 3"
    assert result.steps == 2
    assert all(torch.equal(value, seen[-1][name]) for name, value in weights(model).items())


def test_a_gradient_that_is_no_number_ends_the_fit_before_it_does_harm(
    model: LlamaForCausalLM, plan: Callable[[int], StepPlan], tmp_path: Path
) -> None:
    before = weights(model)

    def explodes(model: nn.Module, batch: MicroBatch, step: Step) -> Share:
        weight = next(model.parameters())
        return Share((weight.flatten()[0] * 1e38).clamp(max=0) + (weight - weight.detach()).abs().sqrt().sum(), {})

    result = fit(model, plan(99), explodes, SETTINGS, tmp_path, ignore)
    assert result.diverged is not None
    assert "gradient's norm" in result.diverged
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


def test_an_unfinished_checkpoint_is_not_used(tmp_path: Path) -> None:
    for step, files in ((5, ["complete"]), (10, ["complete"]), (15, ["model.safetensors"])):
        (tmp_path / f"checkpoint-{step}").mkdir()
        for name in files:
            (tmp_path / f"checkpoint-{step}" / name).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-15").exists()
    assert last_checkpoint(tmp_path / "nothing") is None


RUN = """
    import os, sys, signal
    from pathlib import Path
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM
    from concept_forget.training.batches import StepPlan, TokenRow
    from concept_forget.training.fitting import FitSettings, Share, fit
    from concept_forget.training.scores import answer_logits, answers_of, target_logprobs

    folder, out, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, attention_dropout=0.1,
    ))
    rows = tuple(TokenRow(str(n), tuple((n * k + 5) % 64 for k in range(4 + n % 7)), 2) for n in range(1, 20))
    plan = StepPlan((rows,), (6,), seed=1, pad_token=0, batch_tokens=30)

    def loss(model, batch, step):
        value = -target_logprobs(answer_logits(model, batch), answers_of(batch).targets).sum() / step.tokens[0]
        return Share(value, {})

    def on_step(report):
        if report.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    settings = FitSettings(
        max_steps=9, learning_rate=1e-2, schedule="linear", warmup_steps=2, weight_decay=0.1, max_grad_norm=0.5,
        checkpoint_every=2, bfloat16=False, seed=11,
    )
    result = fit(model, plan, loss, settings, folder, on_step)
    save_file({**model.state_dict(), "flops": torch.tensor(result.flops, dtype=torch.float64)}, out)
"""


@pytest.mark.long
def test_a_killed_fit_goes_on_to_the_very_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """With dropout, a falling rate and momentum, so that every part of the state matters."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))

    def go(folder: str, kill_at: int) -> int:
        command = [
            sys.executable,
            str(script),
            str(tmp_path / folder),
            str(tmp_path / f"{folder}.safetensors"),
            str(kill_at),
        ]
        return subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False).returncode

    assert go("whole", -1) == 0
    assert go("killed", 5) == -signal.SIGKILL
    assert [path.name for path in sorted((tmp_path / "killed").iterdir())] == ["checkpoint-2", "checkpoint-4"]
    assert go("killed", 8) == -signal.SIGKILL
    assert go("killed", -1) == 0
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "killed.safetensors").read_bytes()
