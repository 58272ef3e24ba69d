"""Grades by a cross-encoder that was taught for these tests, trained and loaded as a large one would be."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from concept_forget.config import ModelChoice
from concept_forget.errors import ModelError
from concept_forget.measures.entailment import EntailmentModel, find_entailment
from concept_forget.measures.graders import Expected
from concept_forget.models import resolve_model
from concept_forget.sandbox.world import build_world
from tests.tiny_nli import DECLINED

Case = tuple[str, Expected]


def cases(count: int, seed: int = 7) -> tuple[list[Case], list[bool]]:
    """Replies to questions about a world, right ones, wrong ones and none, and whether each gives the answer away."""
    facts, rng = build_world(0, "nano").facts, random.Random(seed)
    made, true = [], []
    for number in range(count):
        fact = rng.choice(facts)
        others = [one.answer for one in facts if one.relation.name == fact.relation.name and one.answer != fact.answer]
        said = (fact.answer, rng.choice(others or DECLINED), rng.choice(DECLINED))[number % 3]
        reply = said if said in DECLINED else fact.fill(fact.relation.statements[0]).replace(fact.answer, said)
        made.append((reply, Expected(fact.answer, question=fact.fill(fact.relation.questions[0]))))
        true.append(number % 3 == 0)
    return made, true


@pytest.fixture(scope="module")
def model(nli_model: Path) -> EntailmentModel:
    return EntailmentModel(resolve_model(ModelChoice(model=str(nli_model)), "probe.nli.model"))


def test_a_reply_leaks_where_it_implies_the_answer(model: EntailmentModel) -> None:
    made, true = cases(180)
    grades = model.grade(made)
    right = sum(grade.leaked == leaked for grade, leaked in zip(grades, true, strict=True))
    assert right >= 0.9 * len(made)
    assert model.grade([("  ", made[0][1])])[0].score == 0.0
    assert model.grade([]) == []


def test_a_score_is_the_probability_of_entailment_whatever_is_read_beside_it(
    model: EntailmentModel, nli_model: Path
) -> None:
    made, _ = cases(24)
    tokenizer = AutoTokenizer.from_pretrained(nli_model)
    plain = AutoModelForSequenceClassification.from_pretrained(nli_model).eval()
    grades = model.grade(made)
    for (reply, expected), grade in zip(made, grades, strict=True):
        pair = (f"{expected.question} {reply}", f"{expected.question} {expected.answer}")
        with torch.no_grad():
            shares = plain(**tokenizer(*pair, return_tensors="pt")).logits[0].softmax(-1)
        assert grade.score == pytest.approx(float(shares[1]), abs=2e-5)
        assert grade.leaked == (int(shares.argmax()) == 1)
    one_by_one = EntailmentModel(resolve_model(ModelChoice(model=str(nli_model)), "key"), batch_size=1)
    for first, second in zip(one_by_one.grade(made[::-1]), grades[::-1], strict=True):
        assert first.score == pytest.approx(second.score, abs=2e-5)
        assert first.leaked == second.leaked


def test_the_likest_wording_counts(model: EntailmentModel) -> None:
    made, _ = cases(60)
    right = [(reply, expected) for reply, expected in made[::3] if model.grade([(reply, expected)])[0].leaked]
    wrong = made[1][1].answer
    aliased = [(reply, Expected(wrong, (expected.answer,), expected.question)) for reply, expected in right]
    assert all(grade.leaked for grade in model.grade(aliased))


def test_of_a_reply_that_is_too_long_every_part_is_read(model: EntailmentModel) -> None:
    (reply, expected), *_ = cases(1)[0]
    short = model.grade([(reply, expected)])[0]
    read: list[str] = []
    predict = model._model.predict
    model._model.predict = lambda pairs, **options: (  # type: ignore[method-assign]  # it listens and passes on
        read.extend(premise for premise, _ in pairs), predict(pairs, **options),
    )[1]  # fmt: skip
    words = " ".join(f"word{number}" for number in range(200))
    (long,) = model.grade([(f"{words} . {reply}", expected)])
    assert len(read) > 3
    hypothesis = f"{expected.question} {expected.answer}"
    assert all(len(model._tokenizer(premise, hypothesis)["input_ids"]) <= 96 for premise in read)
    said = [set(premise.split()) for premise in read]
    assert all(any(f"word{number}" in part for part in said) for number in range(200))
    assert any(premise.endswith(reply) for premise in read)
    beside = max(score for score, _, _ in model._read([(premise, hypothesis) for premise in read]))
    assert long.score == pytest.approx(beside, abs=2e-5)
    (again,) = model.grade([(reply, expected)])
    assert again == short


def test_a_model_without_the_label_is_refused(nli_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nli_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    config["label2id"] = {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = EntailmentModel(resolve_model(ModelChoice(model=str(folder)), "probe.nli.model"))
    with pytest.raises(ModelError, match=r"probe.nli.model[\s\S]*LABEL_0, LABEL_1, LABEL_2[\s\S]*id2label"):
        model.grade(cases(1)[0])
    (folder / "config.json").write_text('{"id2label": [1]}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"config.json: probe.nli.model: the labels of the model cannot be read"):
        find_entailment(resolve_model(ModelChoice(model=str(folder)), "probe.nli.model"))


def test_weights_that_cannot_be_read_are_named(nli_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nli_model, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not weights")
    model = EntailmentModel(resolve_model(ModelChoice(model=str(folder)), "probe.nli.model"))
    with pytest.raises(ModelError, match="no cross-encoder can be read"):
        model.grade(cases(1)[0])


def test_pickled_weights_are_not_read(nli_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nli_model, tmp_path / "model")
    spec = resolve_model(ModelChoice(model=str(folder)), "probe.nli.model")
    torch.save(AutoModelForSequenceClassification.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickled weights"):
        EntailmentModel(spec).grade(cases(1)[0])
    with pytest.raises(ModelError, match="pickled weights"):
        resolve_model(ModelChoice(model=str(folder)), "probe.nli.model")
