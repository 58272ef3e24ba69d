"""Private training: gradients clipped row by row, noise as told, and the privacy that Opacus's accountant tells."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from opacus.accountants import RDPAccountant
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.errors import MissingExtraError, OutOfMemoryError, StageError
from concept_forget.out_of_memory import recording_halvings
from concept_forget.records import Example, named_random
from concept_forget.training.batches import Item, TokenRow, collate, encode_examples
from concept_forget.unlearn.trainings import TRAININGS, private
from concept_forget.unlearn.trainings.private import PrivateSettings, fit_privately, row_losses
from tests.unlearn.trainings.conftest import MakeTask

SETTINGS = PrivateSettings(
    steps=4, sample_rate=0.5, noise_multiplier=1.0, max_grad_norm=0.5, learning_rate=1e-3, weight_decay=0.0,
    batch_tokens=10_000, checkpoint_every=0, seed=5,
)  # fmt: skip


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerFast, examples: list[Example]) -> tuple[TokenRow, ...]:
    return encode_examples(examples, tokenizer, 64).rows


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_a_step_is_the_sum_of_clipped_gradients_over_the_expected_number_of_rows(
    make_model: Callable[..., LlamaForCausalLM],
    rows: tuple[TokenRow, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against plain gradients of one row after another: Adam's first step tells only signs, so SGD takes its place."""
    monkeypatch.setattr(torch.optim, "AdamW", lambda params, lr, weight_decay: torch.optim.SGD(params, lr=lr))
    settings = dataclasses.replace(SETTINGS, steps=1, noise_multiplier=0.0, learning_rate=1.0)
    model, plain = make_model(), make_model()
    fit_privately(model, rows, settings, 1e-5, tmp_path, pad_token=0)
    rng = named_random(settings.seed, "draw", 0)
    drawn = [row for row in rows if rng.random() < 0.5]
    assert 0 < len(drawn) < len(rows)
    total = torch.zeros_like(weights(plain))
    for row in drawn:
        plain.zero_grad()
        row_losses(plain, collate([Item(0, 0, row)], 0)).sum().backward()
        gradient = torch.cat([weight.grad.flatten() for weight in plain.parameters() if weight.grad is not None])
        total += gradient * min(1.0, 0.5 / float(gradient.norm()))
        assert gradient.norm() > 0.5
    expected = weights(plain) - total / round(0.5 * len(rows))
    assert weights(model) == pytest.approx(expected, abs=1e-5)


def test_noise_has_the_spread_that_the_settings_tell(
    make_model: Callable[..., LlamaForCausalLM],
    rows: tuple[TokenRow, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", lambda params, lr, weight_decay: torch.optim.SGD(params, lr=lr))
    moved = []
    for noise in (0.0, 3.0):
        model = make_model()
        settings = dataclasses.replace(SETTINGS, steps=1, noise_multiplier=noise, learning_rate=1.0)
        fit_privately(model, rows, settings, 1e-5, tmp_path, pad_token=0)
        moved.append(weights(model))
    noise = (moved[1] - moved[0]) * round(0.5 * len(rows))
    count = len(noise)
    assert float(noise.std()) == pytest.approx(3.0 * 0.5, rel=5 / math.sqrt(2 * count))
    assert float(noise.mean()) == pytest.approx(0.0, abs=5 * 1.5 / math.sqrt(count))


def test_parting_a_step_and_drawing_nobody_change_nothing_but_memory(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    whole, parted, idle = make_model(), make_model(), make_model()
    fit_privately(whole, rows, SETTINGS, 1e-5, tmp_path, pad_token=0)
    fit_privately(parted, rows, dataclasses.replace(SETTINGS, batch_tokens=1), 1e-5, tmp_path, pad_token=0)
    assert weights(whole) == pytest.approx(weights(parted), abs=1e-4)
    before = weights(idle)
    nobody = dataclasses.replace(SETTINGS, sample_rate=1e-9, steps=1)
    assert fit_privately(idle, rows, nobody, 1e-5, tmp_path, pad_token=0).tokens == 0
    assert (weights(idle) - before).abs().min() > 0  # noise alone moves every weight


@pytest.mark.parametrize("going", ["forward", "backward"])
def test_where_memory_does_not_suffice_a_step_goes_on_in_smaller_parts(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...], tmp_path: Path, going: str
) -> None:
    """In the middle of the model, so that some weights have their rows' gradients already and others have not."""

    def fail_if_large(module: torch.nn.Module, given: object, gradients_or_states: object) -> None:
        (states,) = (found for found in gradients_or_states if found is not None)  # type: ignore[attr-defined]
        if len(states) > 2:
            torch.empty(1 << 50)

    bounded, smaller = make_model(), make_model()
    layer = bounded.model.layers[0].mlp.down_proj
    if going == "backward":
        handle = layer.register_full_backward_hook(fail_if_large)  # type: ignore[arg-type]  # it returns nothing
    else:
        handle = layer.register_forward_hook(lambda module, given, states: fail_if_large(module, given, (states,)))
    settings = dataclasses.replace(SETTINGS, checkpoint_every=2)
    with recording_halvings() as told:
        fit_privately(bounded, rows, dataclasses.replace(settings, steps=3), 1e-5, tmp_path / "bounded", pad_token=0)
        first = len(told)
        found = fit_privately(bounded, rows, settings, 1e-5, tmp_path / "bounded", pad_token=0)
    handle.remove()
    assert 0 < first == len(told)  # what a checkpoint goes on with is not tried larger again
    bound = int(told[-1].split("batches of ")[1].split()[0])
    expected = fit_privately(
        smaller, rows, dataclasses.replace(settings, batch_tokens=bound), 1e-5, tmp_path / "smaller", pad_token=0
    )
    assert weights(bounded) == pytest.approx(weights(smaller), abs=1e-4)
    assert (found.epsilon, found.delta) == (expected.epsilon, expected.delta)
    assert not any(hasattr(module, "activations") for module in bounded.modules())


def test_a_row_that_does_not_fit_alone_is_told(
    model: LlamaForCausalLM, rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    model.model.layers[0].register_forward_hook(lambda *given: torch.empty(1 << 50))
    with pytest.raises(OutOfMemoryError, match=r"1 rows of \d+ tokens[\s\S]*→ lower `unlearn.max_tokens`"):
        fit_privately(model, rows, SETTINGS, 1e-5, tmp_path, pad_token=0)


def test_epsilon_is_what_opacus_accounts_for_the_same_steps(
    model: LlamaForCausalLM, rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    spent = fit_privately(model, rows, SETTINGS, 1e-5, tmp_path, pad_token=0)
    accountant = RDPAccountant()
    accountant.history = [(1.0, 0.5, 4)]
    assert spent.epsilon == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-12)
    without = dataclasses.replace(SETTINGS, noise_multiplier=0.0, steps=1)
    assert fit_privately(model, rows, without, 1e-5, tmp_path, pad_token=0).epsilon == math.inf


def test_an_interrupted_private_run_goes_on_to_the_same_weights(
    make_model: Callable[..., LlamaForCausalLM], rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    whole, parts = make_model(), make_model()
    settings = dataclasses.replace(SETTINGS, steps=4, checkpoint_every=2)
    expected = fit_privately(whole, rows, settings, 1e-5, tmp_path / "whole", pad_token=0)
    fit_privately(parts, rows, dataclasses.replace(settings, steps=3), 1e-5, tmp_path / "parts", pad_token=0)
    again = make_model(seed=9)
    found = fit_privately(again, rows, settings, 1e-5, tmp_path / "parts", pad_token=0)
    assert torch.equal(weights(whole), weights(again))
    assert found == expected


def test_the_method_tells_what_privacy_it_spent(make_task: MakeTask) -> None:
    result = TRAININGS["dp_sgd"].function(make_task(method="dp_sgd", epochs=1, batch_size=20))
    assert result.details["sample_rate"] == 0.5
    assert result.details["delta"] == 1e-5
    assert result.details["rows_to_forget"] == 10
    assert result.steps == 2
    accountant = RDPAccountant()
    accountant.history = [(1.0, 0.5, 2)]
    assert result.details["epsilon"] == pytest.approx(accountant.get_epsilon(1e-5))


def test_weights_that_are_no_numbers_end_the_run(
    model: LlamaForCausalLM, rows: tuple[TokenRow, ...], tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"(?s)weight became no number at step [12].*→ lower"):
        fit_privately(model, rows, dataclasses.replace(SETTINGS, learning_rate=1e37), 1e-5, tmp_path, pad_token=0)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(MissingExtraError, match=r"(?s)opacus.*→ pip install .*\[train\]"):
        private._opacus()
