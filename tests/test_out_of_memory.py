from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from concept_forget.errors import ConceptForgetError, DataError, OutOfMemoryError
from concept_forget.faults import naming_faults
from concept_forget.out_of_memory import (
    compute_elsewhere,
    in_halves,
    is_out_of_memory,
    recording_halvings,
    tell_halved,
    tell_halvings,
    unless_out_of_memory,
)


def too_much() -> torch.Tensor:
    """More than any machine has: what torch says of it is what it says of the last byte too many."""
    return torch.empty(1 << 50)


def test_what_torch_and_python_say_of_too_little_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as torch_says:
        too_much()
    with pytest.raises(MemoryError) as python_says:
        bytearray(1 << 60)
    assert is_out_of_memory(torch_says.value)
    assert is_out_of_memory(python_says.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert unless_out_of_memory(too_much) is None
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        unless_out_of_memory(lambda: torch.ones(2, 3) @ torch.ones(4, 5))


def test_a_batch_is_halved_until_it_fits_and_it_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def double(batch: Sequence[int]) -> list[int]:
        asked.append(len(batch))
        if len(batch) > 3:
            too_much()
        return [2 * number for number in batch]

    with recording_halvings() as told:
        assert in_halves(double, list(range(11)), "texts", "mine.batch_tokens") == [2 * n for n in range(11)]
        assert in_halves(double, list(range(11)), "texts", "mine.batch_tokens") == [2 * n for n in range(11)]
    assert asked[:7] == [11, 5, 2, 3, 6, 3, 3]
    assert told[0].startswith("Memory does not suffice for 11 texts: going on with the halves")
    assert "mine.batch_tokens" in told[0]
    assert len(told) == 3  # of 11, of 5 and of 6
    assert capsys.readouterr().err.count("for 11 texts") == 1


def test_who_records_within_a_block_takes_nothing_from_who_records_around_it() -> None:
    with recording_halvings() as around:
        with recording_halvings() as within:
            pass
        tell_halved("9 rows of 3 tokens", "less")
    tell_halved("8 rows of 3 tokens", "less")
    assert (len(around), within) == (1, [])


def test_what_was_halved_elsewhere_is_told_where_the_result_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    def count(batch: Sequence[int]) -> list[int]:
        if len(batch) > 3:
            too_much()
        return list(batch)

    found = compute_elsewhere(lambda: in_halves(count, [1, 2, 3, 4], "texts", "mine.batch_tokens"))
    assert capsys.readouterr().err == ""
    with recording_halvings() as told:
        assert tell_halvings(found) == tell_halvings(found) == [1, 2, 3, 4]
    assert len(told) == 1
    assert capsys.readouterr().err.count("for 4 texts") == 1
    tell_halved("9 rows of 3 tokens", "less")  # what is computed here is told here again
    assert "for 9 rows" in capsys.readouterr().err


def test_where_one_alone_does_not_fit_there_is_one_error_with_a_remedy() -> None:
    with pytest.raises(OutOfMemoryError, match=r"for one of the texts\n  → shorten it") as caught:
        in_halves(lambda batch: [too_much() for _ in batch], [1, 2, 3], "texts", "mine.batch_tokens")
    assert caught.value.exit_code == 3


def test_too_little_memory_outside_every_batch_is_told_in_words() -> None:
    with pytest.raises(OutOfMemoryError, match=r"allocate memory[\s\S]*→ lower `batch_tokens`"), naming_faults():
        too_much()
    with pytest.raises(ZeroDivisionError), naming_faults():
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="shapes"), naming_faults():
        torch.ones(2, 3) @ torch.ones(4, 5)
    known = DataError("out of memory")
    with pytest.raises(ConceptForgetError) as caught, naming_faults():
        raise known
    assert caught.value is known


BOUNDED = """
    import dataclasses, resource, sys
    from pathlib import Path
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from concept_forget.out_of_memory import recording_halvings
    from concept_forget.sentence_encoder import SentenceEncoder
    from concept_forget.training.batches import StepPlan, TokenRow
    from concept_forget.training.fitting import FitSettings, Share, fit
    from concept_forget.training.scores import answer_logits, answers_of, score_rows, target_logprobs
    from concept_forget.unlearn.trainings.private import PrivateSettings, fit_privately

    folder, encoder_folder = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    rows = tuple(TokenRow(str(n), tuple((n * k + 5) % 64 for k in range(40 + n % 20)), 2) for n in range(1, 400))
    plan = StepPlan((rows,), (390,), seed=1, pad_token=0, batch_tokens=10**6)
    settings = FitSettings(
        max_steps=3, learning_rate=1e-2, schedule="constant", warmup_steps=0, weight_decay=0.1, max_grad_norm=0.5,
        checkpoint_every=0, bfloat16=False, seed=11,
    )

    def make(attention_dropout=0.1):
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(
            vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64, attention_dropout=attention_dropout,
        ))

    def loss(model, batch, step):
        value = -target_logprobs(answer_logits(model, batch), answers_of(batch).targets).sum() / step.tokens[0]
        return Share(value, {})

    def bounded(megabytes, act):
        address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (address_space + megabytes * 1_000_000, unlimited[1]))
        try:
            with recording_halvings() as told:
                return act(), told
        finally:
            resource.setrlimit(resource.RLIMIT_AS, unlimited)

    def train(plan, name):
        model = make()
        return fit(model, plan, loss, settings, folder / name, lambda report: False), model

    train(dataclasses.replace(plan, batch_tokens=2000), "warm")  # threads and buffers are there now
    (result, small), told = bounded(60, lambda: train(plan, "bounded"))
    assert told and "at step 1" in told[0], told
    bound = int(told[-1].split("batches of ")[1].split(" ")[0])
    assert bound < 20000, told
    expected, same = train(dataclasses.replace(plan, batch_tokens=bound), "smaller")
    for name, weight in same.state_dict().items():
        assert torch.equal(weight, small.state_dict()[name]), name
    assert (result.steps, result.flops) == (expected.steps, expected.flops)

    def train_privately(batch_tokens, name):
        private = PrivateSettings(
            steps=2, sample_rate=0.9, noise_multiplier=0.5, max_grad_norm=0.5, learning_rate=1e-2, weight_decay=0.0,
            batch_tokens=batch_tokens, checkpoint_every=0, seed=3,
        )
        model = make(attention_dropout=0.0)
        return fit_privately(model, rows, private, 1e-5, folder / name, pad_token=0), model

    train_privately(300, "warm privately")
    (spent, small), told = bounded(200, lambda: train_privately(10**6, "bounded privately"))
    assert told, "every row's gradient fitted"
    expected, plenty = train_privately(2000, "smaller privately")
    assert spent.epsilon == expected.epsilon
    for name, weight in plenty.state_dict().items():
        assert torch.allclose(weight, small.state_dict()[name], atol=1e-4), name

    whole = score_rows(same, rows, pad_token=0, batch_tokens=4000)
    scores, told = bounded(30, lambda: score_rows(same, rows, pad_token=0, batch_tokens=10**6))
    assert told, "everything fitted"
    assert np.allclose([s.total for s in scores], [s.total for s in whole], atol=1e-4)

    encoder = SentenceEncoder(encoder_folder, device="cpu")
    texts = [f"{n} " + "the book of the town was taught by the ship " * 6 for n in range(4000)]
    encoder.encode(texts[:50])
    vectors, told = bounded(70, lambda: encoder.encode(texts))  # the tokenizer, which cannot be told, has room
    assert told and "4000 texts" in told[0], told
    half = encoder.encode(texts[:2000]), encoder.encode(texts[2000:])
    assert np.allclose(vectors, np.concatenate(half), atol=1e-6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's memory")
@pytest.mark.long
def test_training_scoring_and_encoding_go_on_in_smaller_batches_to_what_these_give(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    """With the process's memory really bounded, and dropout, so that each row's draws matter."""
    program = textwrap.dedent(BOUNDED)
    command = [sys.executable, "-c", program, str(tmp_path), str(tiny_encoder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Memory does not suffice" in done.stderr
