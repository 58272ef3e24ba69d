from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.errors import StageError
from concept_forget.records import Example, ModelSpec
from concept_forget.training.batches import encode_examples
from concept_forget.training.fitting import last_checkpoint
from concept_forget.training.scores import score_rows
from concept_forget.training.tuning import Tuned, Tuning, usual_rate

TUNING = Tuning(
    learning_rate=None, batch_tokens=64, max_tokens=64, dtype="auto", gradient_checkpointing=False, seed=3
)  # fmt: skip


@pytest.fixture
def spec(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> ModelSpec:
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return ModelSpec(str(tmp_path / "model"))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_rows_are_learned_in_an_adapter_and_the_models_own_weights_stay(
    spec: ModelSpec,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: list[Example],
    tmp_path: Path,
) -> None:
    rows = encode_examples(examples, tokenizer, 64).rows
    before = score_rows(model, rows, pad_token=0, batch_tokens=99)
    tuned = Tuned(spec, [examples], TUNING, tmp_path / "fit")
    learned = tuned.until(24)
    after = score_rows(learned, rows, pad_token=0, batch_tokens=99)
    assert sum(score.total for score in after) > sum(score.total for score in before) / 2
    own = {name.replace(".base_layer", ""): value for name, value in weights(learned).items() if "lora_" not in name}
    assert same(own, weights(model))
    assert not learned.training
    assert tuned.flops > 0
    tuned.close()
    assert not (tmp_path / "fit").exists()


def test_a_step_hangs_neither_on_later_ones_nor_on_stops_and_kills_in_between(
    spec: ModelSpec, examples: list[Example], tmp_path: Path
) -> None:
    at_once = weights(Tuned(spec, [examples], TUNING, tmp_path / "once").until(5))
    stretches = Tuned(spec, [examples], TUNING, tmp_path / "stretches")
    early = weights(stretches.until(2))
    assert not same(early, at_once)
    assert same(weights(stretches.until(5)), at_once)
    Tuned(spec, [examples], TUNING, tmp_path / "killed").until(2)
    assert same(weights(Tuned(spec, [examples], TUNING, tmp_path / "killed").until(2)), early)
    assert same(weights(Tuned(spec, [examples], TUNING, tmp_path / "killed").until(5)), at_once)
    checkpoint = last_checkpoint(tmp_path / "killed")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-5"
    assert same(
        weights(Tuned(spec, [examples], TUNING, tmp_path / "killed").until(2)), early
    )  # what is there is too far


def test_the_usual_rate_falls_with_the_width(
    make_model: Callable[..., LlamaForCausalLM], spec: ModelSpec, examples: list[Example], tmp_path: Path
) -> None:
    assert usual_rate(4096) == pytest.approx(1.875e-4)
    given = Tuned(spec, [examples], Tuning(0.012 / 32**0.5, 64, 64, "auto", False, 3), tmp_path / "given").until(7)
    usual = Tuned(spec, [examples], TUNING, tmp_path / "usual").until(7)  # of a model whose width is 32
    assert same(weights(given), weights(usual))


def test_what_cannot_be_learned_is_said(spec: ModelSpec, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"(?s)came to nothing: .* became .*lower `probe.relearn_learning_rate`"):
        Tuned(spec, [examples], Tuning(1e30, 64, 64, "auto", False, 3), tmp_path / "fast").until(9)
    with pytest.raises(
        StageError, match=r"(?s)none of the 5 rows .* within `unlearn.max_tokens`.*raise `unlearn.max_tokens`"
    ):
        Tuned(spec, [examples], Tuning(None, 64, 1, "auto", False, 3), tmp_path / "short").until(1)
