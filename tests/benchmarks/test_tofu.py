"""What TOFU measures of a model: losses against a forward pass by hand, replies against the engine's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from concept_forget.benchmarks.tofu import ROWS, TofuRow, chat_wording, evaluate, raw_wording, read_tofu
from concept_forget.benchmarks.tofu_logs import FORGET, LOGS, REAL_AUTHORS, WORLD_FACTS, EvalLog
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import DataError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import ModelSpec

Rows = Callable[[int], list[dict[str, Any]]]


def loss_by_hand(spec: ModelSpec, prompt: list[int], completion: list[int]) -> float:
    """Cross entropy of a completion, summed, from one unpadded forward pass."""
    model = load_model(spec)
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(completion), reduction="sum"))


@pytest.mark.parametrize("wording", ["chat", "raw"])
def test_losses_are_those_of_a_forward_pass_with_the_token_that_ends_the_answer(
    wording: str, nano_model: Path, tofu_rows: Rows
) -> None:
    spec = ModelSpec(str(nano_model))
    tokenizer: Any = load_tokenizer(spec)
    row = TofuRow.model_validate(tofu_rows(3)[2])
    end = tokenizer.eos_token
    engine = TransformersEngine(spec)
    chosen = chat_wording() if wording == "chat" else raw_wording(end)
    log = evaluate(engine, {FORGET: [row, *map(TofuRow.model_validate, tofu_rows(2))]}, chosen)[FORGET]
    if wording == "chat":
        chat = [{"role": "user", "content": row.question}]
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        whole = [{"role": "assistant", "content": row.answer}]
        text = tokenizer.apply_chat_template([*chat, *whole], tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = ids[: ids.index(tokenizer.eos_token_id, len(start)) + 1]
    else:
        prompt = f"Question: {row.question}\n"
        start = tokenizer(prompt)["input_ids"]
        ids = tokenizer(f"{prompt}Answer: {row.answer}{end}")["input_ids"]
    assert ids[: len(start)] == start
    expected = loss_by_hand(spec, start, ids[len(start) :])
    assert log.gt_loss["0"] == pytest.approx(expected, rel=1e-4)
    assert log.num_token_gt["0"] == len(ids) - len(start)
    assert log.avg_gt_loss["0"] == pytest.approx(expected / (len(ids) - len(start)), rel=1e-4)


@pytest.fixture
def logs(nano_model: Path, tofu_copies: Path) -> dict[str, EvalLog]:
    sets = read_tofu("forget01", tofu_copies)
    return evaluate(TransformersEngine(ModelSpec(str(nano_model))), sets, chat_wording())


def test_every_measure_of_the_authors_is_in_every_log(logs: dict[str, EvalLog]) -> None:
    assert list(logs) == list(LOGS)
    for name, log in logs.items():
        assert (log.normalized_gt_loss is not None) == (name in (REAL_AUTHORS, WORLD_FACTS))
        for measure, figures in log.model_dump(exclude_none=True).items():
            assert list(figures) == ["0", "1", "2", "3"], measure
        for place in log.avg_gt_loss:
            wrong = log.average_perturb_loss[place]
            assert log.truth_ratio[place] == pytest.approx(
                math.exp(log.avg_paraphrased_loss[place] - sum(wrong) / len(wrong))
            )
            assert log.paraphrased_loss[place] == pytest.approx(
                log.avg_paraphrased_loss[place] * log.num_token_paraphrased[place]
            )
            if log.normalized_gt_loss is not None:
                shares = [math.exp(-loss) for loss in (log.avg_gt_loss[place], *wrong)]
                assert log.normalized_gt_loss[place] == pytest.approx(-math.log(shares[0] / sum(shares)))


def test_a_taught_model_recalls_and_a_wrong_answer_is_unlikelier(logs: dict[str, EvalLog]) -> None:
    recall = list(logs[FORGET].rougeL_recall.values())
    assert sum(recall) / len(recall) > 0.7
    assert all(text[0] and text[2] for text in logs[FORGET].generated_text.values())
    assert sum(ratio < 1 for ratio in logs[FORGET].truth_ratio.values()) >= 3


def test_the_first_three_hundred_rows_of_a_set_are_read(tofu_copies: Path, tofu_rows: Rows) -> None:
    (row,) = tofu_rows(1)
    many = "".join(json.dumps({**row, "question": f"{number}?"}) + "\n" for number in range(ROWS + 5))
    (tofu_copies / "forget01_perturbed.json").write_text(many, encoding="utf-8")
    sets = read_tofu("forget01", tofu_copies)
    assert [row.question for row in sets[FORGET]] == [f"{number}?" for number in range(ROWS)]
    assert sets[REAL_AUTHORS][0].paraphrased_answer == sets[REAL_AUTHORS][0].answer


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a column is missing": ({"answer": None}, "row 1 of locuslab/TOFU, forget01_perturbed", "answer"),
    "no wrong answer": ({"perturbed_answer": []}, "row 1 of", "perturbed_answer"),
    "no other wording": ({"paraphrased_answer": ""}, "no answer in other words", "paraphrased_answer"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_that_is_none_is_named_by_set_number_and_column(case: str, tofu_copies: Path, tofu_rows: Rows) -> None:
    changes, words, key = BROKEN[case]
    (row,) = tofu_rows(1)
    (tofu_copies / "forget01_perturbed.json").write_text(json.dumps({**row, **changes}), encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        read_tofu("forget01", tofu_copies)
    assert caught.value.key == key


def test_a_set_without_rows_is_refused(tofu_copies: Path) -> None:
    (tofu_copies / "retain_perturbed.json").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="retain_perturbed, train has no row"):
        read_tofu("forget01", tofu_copies)
