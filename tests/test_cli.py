from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = "concept: {name: Mira Kestrel}\ntarget: {sandbox: {world: 0, size: nano}}\ngenerator: {prompts: compact}\n"


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "concept_forget.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ,
    )


BROKEN = {
    "unknown key": (GOOD + "unlern: {}\n", "config.yaml:4: unlern", "did you mean 'unlearn'"),
    "unknown key inside": (GOOD + "probe:\n  grder: answer\n", "config.yaml:5: probe.grder", "did you mean 'grader'"),
    "wrong type": (GOOD + "unlearn: {beta: hot}\n", "config.yaml:4: unlearn.beta", "Inverse temperature"),
    "out of bounds": (GOOD + "probe: {threshold: 2}\n", "config.yaml:4: probe.threshold", "less than 1"),
    "not YAML": ("concept: {name: A\ntarget: m\n", "config.yaml:2", "not YAML"),
    "duplicate key": ("concept: {name: A}\nconcept: {name: B}\n", "config.yaml:2: concept", "keep one"),
    "empty file": ("", "config.yaml:1", "concept-forget init"),
    "no concept": ("target: m\n", "config.yaml: concept", "add `concept:`"),
    "no target": ("concept: {name: A}\n", "config.yaml: target", "add it"),
    "absent model": (
        "concept: {name: A}\ntarget: ./no-such-model\n",
        "config.yaml:2: target.model",
        "folder that holds config.json",
    ),
    "absent model on the hub": (
        "concept: {name: A}\ntarget: no-such/model-here\n",
        "config.yaml:2: target.model",
        "local folder",
    ),
    "absent reference": (
        GOOD + "reference: ./no-such-model\n",
        "config.yaml:4: reference.model",
        "folder that holds config.json",
    ),
    "empty corpus": (GOOD + "corpus: [nothing/*.jsonl]\n", "config.yaml:4: corpus.0.path", "nothing/*.jsonl"),
    "missing rows": (
        GOOD + "data: {forget: none.jsonl}\n",
        "config.yaml:4: data.forget: there is no file 'none.jsonl'",
        "a relative path starts at the folder in which the command is run",
    ),
    "environment": (GOOD + "output: ${oc.env:HOME}\n", "config.yaml:4: output", "only ${vars.NAME}"),
    "variable without value": (GOOD + "output: ${vars.place}\n", "config.yaml:4: output", "vars.place=VALUE"),
    "unknown prompts": (GOOD.replace("compact", "comapct"), "config.yaml:3: generator.prompts", "compact"),
    "unknown person": (
        GOOD.replace("Mira Kestrel", "Nobody Known") + "reference: {sandbox: {world: 0}}\n",
        "Nobody Known",
        "Mira Kestrel",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_config_gets_one_message_and_exit_code_2(tmp_path: Path, case: str) -> None:
    text, place, remedy = BROKEN[case]
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    done = call("validate", "config.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("concept-forget: ") == 1
    assert place in done.stderr
    assert remedy.casefold() in done.stderr.casefold()


def test_a_missing_file_and_a_wrong_call_exit_with_2(tmp_path: Path) -> None:
    assert "no such file" in call("run", "none.yaml", cwd=tmp_path).stderr
    wrong = call("run", "--bogus", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_init_writes_a_config_that_loads_with_every_default_in_it(tmp_path: Path) -> None:
    from concept_forget.config import UnlearnConfig
    from concept_forget.config_file import load_config

    done = call("init", "mine.yaml", "--name", "Zoë: the “first”", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert load_config(tmp_path / "mine.yaml").concepts[0].name == "Zoë: the “first”"
    assert all(f"#   {field.alias or name}:" in text for name, field in UnlearnConfig.model_fields.items())
    lines = text.splitlines()
    start = lines.index("# unlearn:")
    end = lines.index("", start)
    uncommented = "\n".join(line.removeprefix("# ") for line in lines[start:end])
    (tmp_path / "full.yaml").write_text(GOOD + uncommented + "\n", encoding="utf-8")
    assert load_config(tmp_path / "full.yaml").unlearn == UnlearnConfig()
    assert call("init", "mine.yaml", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("name", ["", " \u200b", "x" * 201])
def test_init_refuses_a_name_that_no_concept_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from concept_forget.cli import app
    from concept_forget.errors import UserError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--name: ") as caught:
        app(["init", "--name", name], standalone_mode=False)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_told(tmp_path: Path) -> None:
    from importlib.metadata import version

    done = call("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"concept-forget {version('concept-forget')}\n")


def test_validate_prints_the_plan_and_what_the_facts_can_show(tmp_path: Path, nano_model: Path) -> None:
    (tmp_path / "config.yaml").write_text(GOOD, encoding="utf-8")
    done = call("validate", "config.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("expand", "to run", "base: ready", "new_form", "you cannot show less than", "the config is valid"):
        assert words in done.stdout
    assert not (tmp_path / "runs").exists()


def test_doctor_names_versions_devices_and_extras(tmp_path: Path) -> None:
    done = call("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("transformers", "processors", "accelerators", "offline", "vllm", "engines", "execution", "ray"):
        assert words in done.stdout
    assert "usable" in done.stdout


def test_doctor_names_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from concept_forget import doctor

    monkeypatch.setattr(doctor, "_EXTRAS", {"vllm": ("no_such_module",)})
    doctor.print_health()
    assert "'concept-forget[vllm]'" in capsys.readouterr().out


def test_show_refuses_what_is_no_run(tmp_path: Path) -> None:
    done = call("show", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run.json" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["bundle"], ["trace"], ["compare"], ["report", "."], ["export", "--to", "trl", "--out", "new"]],
)
def test_a_file_where_a_run_belongs_is_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    from concept_forget.cli import app
    from concept_forget.errors import UserError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "concept.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "run.json").write_text('{"format": 1, "config": {}}', encoding="utf-8")
    with pytest.raises(UserError, match="this is a file") as caught:
        app([arguments[0], "concept.yaml", *arguments[1:]], standalone_mode=False)
    assert (caught.value.exit_code, caught.value.file) == (2, "concept.yaml")
    assert "`output` names" in caught.value.remedy


def test_a_stage_alone_stops_there_and_show_prints_it(tmp_path: Path, nano_model: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        GOOD + "expand: {neighbours: {near: 2, middle: 1, far: 1}}\n", encoding="utf-8"
    )
    done = call("expand", "config.yaml", "--set", "output=runs/x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Mira Kestrel" in done.stdout
    assert not (tmp_path / "runs" / "x" / "mine").exists()
    shown = call("show", "runs/x", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "there is no report yet" in shown.stdout


def test_tofu_without_its_folder_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    pipelines = Path(__file__).parent.parent / "pipelines"
    done = call("run", str(pipelines / "tofu-author.yaml"), cwd=tmp_path)
    assert done.returncode == 2
    assert "--set vars.tofu=VALUE" in done.stderr
    assert "locuslab/TOFU" in done.stderr


def test_help_for_export_lists_every_target_from_its_registration(tmp_path: Path) -> None:
    from concept_forget.exports import TARGETS

    done = call("export", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    for target in TARGETS.values():
        assert f"{target.name}: " in shown


def test_export_refuses_what_is_no_run_and_what_is_no_target(tmp_path: Path) -> None:
    done = call("export", ".", "--to", "trl", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run.json" in done.stderr
    done = call("export", ".", "--to", "tlr", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'trl'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_preview_without_a_generator_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "Mira Kestrel maps."}\n', encoding="utf-8")
    rows = "generator: {engine: none}\ndata: {forget: rows.jsonl}\n"
    (tmp_path / "config.yaml").write_text(GOOD.partition("generator")[0] + rows, encoding="utf-8")
    done = call("preview", "config.yaml", "-n", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "config.yaml:3: generator.engine" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
