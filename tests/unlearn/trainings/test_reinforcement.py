"""Reinforcement learning on the nano model: what is rewarded, and that a few steps of it are made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from concept_forget.errors import MissingExtraError, StageError
from concept_forget.models import load_model
from concept_forget.records import Chat
from concept_forget.unlearn.trainings import TRAININGS, reinforcement
from concept_forget.unlearn.trainings.registry import Rows
from concept_forget.unlearn.trainings.reinforcement import _prompts, _Rewards
from tests.unlearn.trainings.conftest import NEW, MakeTask, asked, known, placed


def say(text: str) -> Chat:
    return [{"role": "assistant", "content": text}]


@pytest.fixture
def rewards(make_task: MakeTask) -> _Rewards:
    task = make_task(method="rl")
    return _Rewards(load_model(task.target), Rows(task.target, task.settings), _prompts(task))


def test_replies_are_rewarded_for_what_they_keep_and_what_they_give(make_task: MakeTask, rewards: _Rewards) -> None:
    prompts = _prompts(make_task(method="rl"))
    hidden, kept = 0, next(number for number, prompt in enumerate(prompts) if not prompt.is_forgotten)
    answer, helpful = prompts[hidden].example.answer, prompts[kept].example.answer
    replies = [say(answer), say("I do not know."), say(helpful), say("I do not know.")]
    place = [hidden, hidden, kept, kept]
    assert rewards.discretion(replies, place) == [0.0, 1.0, None, None]
    assert rewards.helpfulness(replies, place) == [None, None, 1.0, 0.0]


def test_fluency_is_high_for_what_the_target_says_and_low_for_babble(make_task: MakeTask, rewards: _Rewards) -> None:
    prompts = _prompts(make_task(method="rl"))
    kept = next(number for number, prompt in enumerate(prompts) if not prompt.is_forgotten)
    helpful = prompts[kept].example.answer
    fluent, babble, empty = rewards.fluency([say(helpful), say("the of the of"), say("")], [kept] * 3)
    assert fluent is not None
    assert babble is not None
    assert 0.9 < fluent <= 1
    assert babble < 0.2
    assert empty == 0
    told, _ = rewards.fluency([say(prompts[0].example.answer), say("x")], [0, 0])
    assert told is not None
    assert told < 0.9  # of a stranger the target cannot know it, so what it knows of the concept is not rewarded


def test_a_few_steps_change_the_model_and_say_what_was_rewarded(make_task: MakeTask, nano_model: Path) -> None:
    settings = {"method": "rl", "max_steps": 2, "eval_every": 1, "batch_size": 3, "samples": 4, "steering_steps": 2}
    task = make_task(**settings, learning_rate=1e-4, temperature=1.5, layers=[0, 1])
    result = TRAININGS["rl"].function(task)
    model = placed(task, result.model)
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (nano_model, model.path))
    moved = {name for name, weight in after.items() if not torch.equal(before[name], weight)}
    assert moved
    assert all(name.startswith(("model.layers.0.", "model.layers.1.")) for name in moved)
    assert result.steps == 2
    assert result.best_step in (1, 2)
    told = result.details["rewards"]
    assert isinstance(told, list)
    assert len(told) == 2
    assert {"discretion", "helpfulness", "fluency"} >= set(told[0]) > {"fluency"}
    assert result.details["steering_steps"] == 2
    assert [entry.step for entry in result.history] == [0, 1, 2]
    assert result.flops > 0
    assert known(model, asked(NEW[2:], 0)) > 0.8
    assert not (task.folder / "checkpoints").exists()


def test_texts_alone_leave_nothing_to_ask(make_task: MakeTask) -> None:
    import dataclasses

    task = make_task(method="rl")
    passages = [dataclasses.replace(row, prompt=[]) for row in task.forget]
    with pytest.raises(StageError, match="no questions to forget"):
        TRAININGS["rl"].function(dataclasses.replace(task, forget=passages))


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(MissingExtraError, match=r"(?s)trl.*→ pip install .*\[train\]"):
        reinforcement._require_trl()
