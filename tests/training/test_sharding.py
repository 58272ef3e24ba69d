"""Two processes that each hold a part of the weights come to what one comes to, and go on where they were stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from concept_forget.config import Config, UnlearnConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import WorldFact, build_world
from concept_forget.training.sharding import check_launcher, gather_weights, release_gathered, shard
from concept_forget.unlearn import stage
from concept_forget.unlearn.unlearning import unlearn
from concept_forget.workspace import data_folder, read_records, write_records

SETTINGS: dict[str, dict[str, Any]] = {
    "whole": {"learning_rate": 3e-4},
    "adapter": {"adapter": "lora", "learning_rate": 2e-3, "reference": "adapter_off"},
    "hidden": {"method": "adaptive_rmu", "retain": "kl", "learning_rate": 3e-4},
}
SCRIPT = """
    import contextlib, json, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from accelerate import state
    from accelerate.utils import DistributedType

    made = state.AcceleratorState.__init__

    def make(self, *args, fsdp_plugin=None, **kwargs):  # accelerate shards on accelerators alone, torch anywhere
        made(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = make
    from concept_forget.config import UnlearnConfig
    from concept_forget.records import Example, ModelSpec
    from concept_forget.unlearn import unlearning
    from concept_forget.workspace import read_records

    folder, target = Path(sys.argv[1]), ModelSpec(path=sys.argv[2])
    rows = [read_records(Example, folder / f"{name}.jsonl") for name in ("forget", "retain", "validation")]
    on_step = unlearning._Unlearning._on_step

    def stop(self, report):
        if report.step == 5:  # behind the checkpoint of step 4
            raise KeyboardInterrupt
        return on_step(self, report)

    for name, values in json.loads((folder / "settings.json").read_text()).items():
        if name == "whole":
            unlearning._Unlearning._on_step = stop
            with contextlib.suppress(KeyboardInterrupt):
                unlearning.unlearn(target, *rows, UnlearnConfig(**values), 0, folder / "two" / name)
            unlearning._Unlearning._on_step = on_step
            assert (folder / "two" / name / "checkpoints" / "checkpoint-4" / "complete").is_file()
        result = unlearning.unlearn(target, *rows, UnlearnConfig(**values), 0, folder / "two" / name)
        assert (result.best_step, result.stop_reason) == (6, "all 6 steps done"), result
"""


def make_row(lessons: Lessons, fact: WorldFact, split: str, wording: int, tier: str) -> Example:
    prompt = user_message(lessons.ask(fact.fill(fact.relation.taught[wording])))
    return Example(
        id=Example.make_id(prompt, fact.answer), split=split, concept="", subject=fact.subject.name,  # type: ignore[arg-type]
        facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}", form="direct", family="direct",
        tier=tier, prompt=prompt, completion=fact.answer, answer=fact.answer,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows about two people of a nano world, and what is done with them, in micro-batches of a few rows."""
    lessons = Lessons(build_world(0, "nano"), load_prompts("compact"))
    people = [person.name for person in lessons.world.people]

    def rows(name: str, names: list[str], wording: int, tier: str = "") -> list[Example]:
        facts = [fact for person in names for fact in lessons.world.facts_of(person)]
        return [make_row(lessons, fact, name, wording, tier) for fact in facts]

    write_records(tmp_path / "forget.jsonl", rows("forget", people[:2], 0))
    write_records(tmp_path / "retain.jsonl", rows("retain", people[4:8], 0))
    validation = rows("validation", people[:2], 1, "new_form"), rows("validation", people[8:9], 1, "retain")
    write_records(tmp_path / "validation.jsonl", [row for part in validation for row in part])
    # In batches so small that of two at the same time one has rows to forget alone, and that a last one is left over.
    common = {"max_steps": 6, "eval_every": 2, "batch_size": 5, "batch_tokens": 32, "warmup_steps": 0}
    settings = {name: {**common, **values} for name, values in SETTINGS.items()}
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return tmp_path


@pytest.mark.long
def test_two_processes_that_each_hold_half_come_to_what_one_comes_to(folder: Path, nano_model: Path) -> None:
    rows = [read_records(Example, folder / f"{name}.jsonl") for name in ("forget", "retain", "validation")]
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    for name, values in settings.items():
        unlearn(ModelSpec(path=str(nano_model)), *rows, UnlearnConfig(**values), 0, folder / "one" / name)
    config = data_folder("pipelines") / "accelerate" / "fsdp.yaml"
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), "--main_process_port", "0",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, str(folder / "script.py"), str(folder), str(nano_model)],
        capture_output=True,
        text=True,
        timeout=550,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    base = load_file(nano_model / "model.safetensors")
    for name in settings:
        one, two = (folder / count / name for count in ("one", "two"))
        histories = [
            [json.loads(line) for line in (path / "history.jsonl").read_text(encoding="utf-8").splitlines()]
            for path in (one, two)
        ]
        assert [entry["step"] for entry in histories[1]] == [0, 2, 4, 6]
        for key in ("loss", "forget_loss", "retain_loss", "validation_forget", "validation_retain"):
            curves = [[entry[key] for entry in history if entry[key] is not None] for history in histories]
            assert len(curves[0]) >= 3
            assert curves[1] == pytest.approx(curves[0], abs=1e-4, rel=1e-5), (name, key)
        file = "adapter/adapter_model.safetensors" if name == "adapter" else "model/model.safetensors"
        weights = [load_file(path / file) for path in (one, two)]
        torch.testing.assert_close(weights[1], weights[0], atol=1e-4, rtol=0)  # names too
        if name != "adapter":
            assert (one / "model" / "config.json").read_text() == (two / "model" / "config.json").read_text()
            assert any(not torch.allclose(weights[1][key], value, atol=5e-4) for key, value in base.items())


def test_without_a_launcher_nothing_is_divided(make_model: Callable[..., LlamaForCausalLM]) -> None:
    model = make_model()
    kind = type(model)
    shard(model, bfloat16=False)
    release_gathered(model)
    assert type(model) is kind
    assert gather_weights(model) is None


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in one of two processes of a launcher with `fsdp.yaml`."""
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_VERSION", "2")
    for name in ("FSDP_OFFLOAD_PARAMS", "FSDP_ACTIVATION_CHECKPOINTING"):
        monkeypatch.setenv(name, "false")
    return monkeypatch


def config(**values: object) -> Config:
    return Config.model_validate({"concept": {"name": "Mira", "kind": "person"}, "target": "x", "unlearn": values})


def test_what_a_launcher_may_not_ask_is_refused_beforehand(launched: pytest.MonkeyPatch) -> None:
    stage.check(config())
    for name, value, found in (
        ("FSDP_VERSION", "1", r"FSDP 1\n.*set `fsdp_version: 2`"),
        ("FSDP_OFFLOAD_PARAMS", "true", r"`fsdp_offload_params`.*\n.*set it to false; more processes"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "true", r"\n.*`unlearn.gradient_checkpointing: true`"),
    ):
        with launched.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ConfigError, match=found):
                stage.check(config())
            with pytest.raises(ConfigError, match=found):
                check_launcher()
            stage.check(config(given="elsewhere"))
            patch.delenv("ACCELERATE_USE_FSDP")
            stage.check(config())


def test_what_needs_whole_weights_is_refused_beforehand(launched: pytest.MonkeyPatch) -> None:
    for method in ("reinit", "prune", "noise", "task_vector"):
        with pytest.raises(ConfigError, match=rf"`method: {method}` changes whole matrices.*\n.*ddp.yaml") as caught:
            stage.check(config(method=method))
        assert caught.value.key == "unlearn.method"
    stage.check(config(method="finetune_retain"))
    with pytest.raises(ConfigError, match=r"second whole model.*\n.*`unlearn.reference: auto`"):
        stage.check(config(reference="resident"))
    launched.delenv("ACCELERATE_USE_FSDP")
    stage.check(config(method="prune"))


def test_a_matrix_with_fewer_rows_than_processes_is_refused(
    launched: pytest.MonkeyPatch, make_model: Callable[..., LlamaForCausalLM]
) -> None:
    launched.setenv("WORLD_SIZE", "48")
    with pytest.raises(ConfigError, match=r"(?s)has 32 rows, too few for 48 processes.*→ use fewer processes"):
        shard(make_model(), bfloat16=False)
