"""Two processes under a launcher come to what one comes to, though one is killed; the first alone writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from concept_forget import load_config, run
from concept_forget.engines.prompts import load_prompts
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.training.processes import (
    add_up,
    from_first,
    is_main_process,
    is_sharded,
    process_count,
    send_order,
    wait_for_everyone,
)
from concept_forget.workspace import data_folder

SCRIPT = """
    import os, signal, sys
    import torch
    torch.set_num_threads(1)
    from concept_forget import load_config, run
    from concept_forget.unlearn import unlearning
    on_step = unlearning._Unlearning._on_step

    def die(self, report):
        if report.step == 5 and os.environ["RANK"] == "1":  # behind the checkpoint of step 4
            os.kill(os.getpid(), signal.SIGKILL)
        return on_step(self, report)

    if "DIE" in os.environ:
        unlearning._Unlearning._on_step = die
    result = run(load_config(sys.argv[1], sys.argv[2:]), until="unlearn")
    sys.stdout.write(f"steps {len(result.steps)}\\n")  # at once: two processes write into one pipe
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A few steps on rows about one person of a nano world, in micro-batches of a few rows."""
    lessons = Lessons(build_world(0, "nano"), load_prompts("compact"))
    people = [person.name for person in lessons.world.people]
    for kind, names in (("forget", people[:1]), ("retain", people[5:8])):
        rows = [
            {"question": lessons.ask(fact.fill(fact.relation.taught[0])), "answer": fact.answer, "subject": name}
            for name in names
            for fact in lessons.world.facts_of(name)
        ]
        (tmp_path / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "concept": {"name": people[0], "kind": "person"},
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "none"},
        "data": {kind: str(tmp_path / f"{kind}.jsonl") for kind in ("forget", "retain")},
        "compose": {"holdout": 0},
        "unlearn": {"max_steps": 6, "eval_every": 2, "batch_size": 5, "batch_tokens": 48, "warmup_steps": 0},
        "output": str(tmp_path / "one" / "run"),
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.long
def test_two_processes_one_of_them_killed_come_to_the_curve_and_the_weights_of_one(
    config: Path, tmp_path: Path, nano_model: Path
) -> None:
    run(load_config(config), until="unlearn")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
    ]  # fmt: skip

    def launch(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*launcher, str(script), str(config), f"output={tmp_path / 'two' / 'run'}"],
            capture_output=True,
            text=True,
            timeout=250,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **environment,
            },
            check=False,
        )

    killed = launch(DIE="1")
    assert killed.returncode != 0
    assert "steps" not in killed.stdout  # nobody waits for the one that is gone, nor goes on without it
    assert sorted(path.parent.name for path in (tmp_path / "two").rglob("complete")) == ["checkpoint-2", "checkpoint-4"]
    done = launch()
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("steps")) == ["steps 0", "steps 4"]
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "run" / "unlearn" / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [entry["step"] for entry in two] == [0, 2, 4, 6]
    for name in ("loss", "forget_loss", "retain_loss"):
        curves = [[entry[name] for entry in history[1:]] for history in (one, two)]
        assert curves[0] == pytest.approx(curves[1], abs=1e-4), name
    assert [entry["flops"] for entry in one] == pytest.approx([entry["flops"] for entry in two])
    weights = [
        load_file(tmp_path / name / "run" / "unlearn" / "model" / "model.safetensors") for name in ("one", "two")
    ]
    for name, value in weights[0].items():
        assert value == pytest.approx(weights[1][name], abs=1e-4), name
    base = load_file(nano_model / "model.safetensors")
    assert any(not torch.allclose(weights[1][name], value, atol=5e-4) for name, value in base.items())


def test_the_launchers_configs_are_such() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    files = sorted((data_folder("pipelines") / "accelerate").glob("*.yaml"))
    assert [path.stem for path in files] == ["ddp", "fsdp"]
    for path in files:
        assert load_config_from_file(str(path)).num_processes == 2


def test_a_process_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    wait_for_everyone()
    send_order(None)
    assert from_first("seen") == "seen"
    assert add_up({"loss": 0.5}) == {"loss": 0.5}
    assert (process_count(), is_main_process(), is_sharded()) == (1, True, False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some clusters say of their machines, without a launcher
    assert process_count() == 1
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    assert (process_count(), is_main_process(), is_sharded()) == (4, False, False)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert is_sharded()
