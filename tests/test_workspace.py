from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from concept_forget.errors import ConfigError, RunLockedError
from concept_forget.workspace import Run, cache_folder, data_folder, folder_name, read_rows, write_json, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_write_killed_at_any_moment_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    write_json(path, {"version": 0})
    writer = (
        "import sys; from pathlib import Path; from concept_forget.workspace import write_json\n"
        "version = 0\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    version += 1; write_json(Path(sys.argv[1]), {'version': version, 'text': 'x' * 2_000_000})\n"
    )
    for pause in (0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = json.loads(path.read_text(encoding="utf-8"))
        assert set(found) in ({"version"}, {"version", "text"})


def test_a_stage_is_finished_only_once_it_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "a")
    with run.lock(), run.stage("mine", "f00") as folder:
        write_text(folder / "half.txt", "half")
    assert run.finished("mine", "f00") is None
    with run.lock(), run.stage("mine", "f00") as folder:
        assert (folder / "half.txt").read_text(encoding="utf-8") == "half"
        final = run.finish("mine", "f00", {"seconds": 1})
    assert run.finished("mine", "f00") == final
    assert (final / "half.txt").is_file()


def test_runs_share_the_store_and_link_relatively(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "runs" / "a"), Run(tmp_path / "runs" / "b")
    with first.lock(), first.stage("mine", "f00"):
        final = first.finish("mine", "f00", {})
    assert second.finished("mine", "f00") == final
    with second.lock():
        second.link("mine", final)
    assert not os.path.isabs(os.readlink(second.root / "mine"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "b" / "mine" / "stage.json").is_file()


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from concept_forget.workspace import Run\n"
        "with Run(Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(60)\n"
    )
    run = Run(tmp_path / "a")
    process = subprocess.Popen([sys.executable, "-c", holder, str(run.root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(RunLockedError, match=str(process.pid)), run.lock():
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with run.lock():  # the lock goes with the process
        assert (run.root / ".lock").is_file()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run\.json"):
        Run(tmp_path).read_manifest()
    (tmp_path / "run.json").write_text('{"format": 99}', encoding="utf-8")
    with pytest.raises(ConfigError, match="format 99"):
        Run(tmp_path).read_manifest()


@pytest.mark.parametrize("name", ["../../etc", "a/b", "C:\\x", "été", "明日", "x" * 300, ".", "🙂", "a\nb"])
def test_no_concept_name_becomes_a_path_elsewhere(tmp_path: Path, name: str) -> None:
    made = folder_name(name)
    assert made
    assert len(made.encode()) <= 255
    assert (tmp_path / made).resolve().parent == tmp_path.resolve()
    assert not made.startswith(".")


def test_two_names_never_share_a_folder() -> None:
    names = ["Mira Kestrel", "Mira-Kestrel", "Mira  Kestrel!", "mira/kestrel"]
    assert len({folder_name(name) for name in names}) == len(names)


def test_prompts_and_pipelines_travel_with_the_program() -> None:
    assert (data_folder("prompts") / "compact").is_dir()
    assert (data_folder("pipelines") / "quickstart.yaml").is_file()


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONCEPT_FORGET_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("CONCEPT_FORGET_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "concept_forget"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "concept_forget"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "concept_forget"


def test_only_the_end_of_a_line_ends_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    texts = ["a\u2028b", "c\x85d", "e\u2029f\x1cg", "h"]
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    assert [row["text"] for row in read_rows(path)] == texts


def test_what_a_kill_left_of_a_shared_folder_goes_and_whoever_comes_meanwhile_waits(tmp_path: Path) -> None:
    run = Run(tmp_path / "runs" / "one")
    order: list[str] = []

    def come() -> None:
        with run.shared("sandbox", "f00d") as folder:
            order.append(f"second sees {(folder / 'documents.jsonl').read_text()}")

    with run.shared("sandbox", "f00d") as folder:
        second = threading.Thread(target=come)
        second.start()
        second.join(0.3)
        order.append("first is done")
        write_text(folder / "documents.jsonl", "all of it")
    second.join()
    assert order == ["first is done", "second sees all of it"]
    (folder / ".documents.jsonl.7050.tmp").write_text("half")
    with run.shared("sandbox", "f00d"):
        assert [path.name for path in folder.iterdir()] == ["documents.jsonl"]


def test_a_link_in_the_place_of_a_lock_or_of_a_stage_is_refused(tmp_path: Path) -> None:
    """A run folder that somebody else made writes nothing outside of itself."""
    run, victim = Run(tmp_path / "runs" / "a"), tmp_path / "victim.txt"
    victim.write_text("mine", encoding="utf-8")
    run.root.mkdir(parents=True)
    (run.root / ".lock").symlink_to(victim)
    with pytest.raises(ConfigError, match="this is a link") as caught, run.lock():
        pass
    assert caught.value.file == str(run.root / ".lock")
    (run.root / ".lock").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run.store / "mine").mkdir(parents=True)
    (run.store / "mine" / "f00.partial").symlink_to(elsewhere)
    with run.lock(), pytest.raises(ConfigError, match="this is a link"), run.stage("mine", "f00") as folder:
        write_text(folder / "text.txt", "text")
    (run.store / "mine" / ".f01.lock").symlink_to(victim)
    with run.lock(), pytest.raises(ConfigError, match="this is a link"), run.stage("mine", "f01"):
        pass
    assert victim.read_text(encoding="utf-8") == "mine"
    assert list(elsewhere.iterdir()) == []
