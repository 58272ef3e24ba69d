from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget import run
from concept_forget.config import Config
from concept_forget.errors import ConfigError, DataError
from concept_forget.evidence import contents
from concept_forget.evidence.bundling import MANIFEST, flatten, line_hash, write_bundle
from concept_forget.evidence.contents import read_bundle
from concept_forget.evidence.verifying import Verification, verify_bundle
from concept_forget.workspace import file_hash, read_json

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(finished, tmp_path_factory.mktemp("bundle") / "nano.zip").path


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Callable[..., Verification]:
    """Verifies the bundle after a change, of which its manifest may know."""

    def verify(change: Change, *, anew: bool = False) -> Verification:
        return verify_bundle(pack(bundle, change, tmp_path / "changed.zip", anew=anew))

    return verify


def pack(bundle: Path, change: Change, out: Path, *, anew: bool = False) -> Path:
    files = dict(read_bundle(bundle).files)
    change(files)
    if anew:
        manifest = json.loads(files[MANIFEST])
        for name, content in files.items():
            if name in manifest["files"]:
                manifest["files"][name] = hashlib.sha256(content).hexdigest()
            if name in manifest["lines"]:
                manifest["lines"][name] = [line_hash(line) for line in content.decode().splitlines() if line]
        manifest["config"] = flatten(json.loads(files["run.json"])["config"])
        files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def edit_line(name: str, number: int, **values: Any) -> Change:
    def change(files: dict[str, bytes]) -> None:
        lines = files[name].decode().splitlines()
        lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **values}, ensure_ascii=False)
        files[name] = ("\n".join(lines) + "\n").encode()

    return change


def edit_json(name: str, *path: str, value: Any) -> Change:
    def change(files: dict[str, bytes]) -> None:
        whole = json.loads(files[name])
        place = whole
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        files[name] = json.dumps(whole).encode()

    return change


def lines_of(bundle: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_bundle(bundle).files[name].decode().splitlines()]


def places(found: Verification) -> str:
    return "\n".join(map(str, found.mismatches))


def test_a_bundle_holds_the_evidence_and_of_the_data_what_was_asked(
    bundle: Path, finished: Path, tmp_path: Path
) -> None:
    names = set(read_bundle(bundle).files)
    assert {"run.json", "probe/attempts.jsonl", "probe/grades.jsonl", "report/metrics.json", MANIFEST} <= names
    data = {name for name in names if name.startswith("compose/") and name.endswith(".jsonl")}
    assert data == {"compose/probe.jsonl", "compose/collateral.jsonl"}
    assert not any(name.endswith(".html") for name in names)
    again = write_bundle(finished, tmp_path / "again.zip")
    assert again.path.read_bytes() == bundle.read_bytes()
    assert again.sha256 == file_hash(bundle)
    assert write_bundle(finished).path == finished.with_name("nano.bundle.zip")


def test_all_of_a_fresh_bundle_matches(bundle: Path) -> None:
    found = verify_bundle(bundle)
    assert found.mismatches == ()
    assert found.sha256 == file_hash(bundle)
    attempts = len(lines_of(bundle, "probe/attempts.jsonl"))
    assert found.counts["attempts"] == found.counts["grades"] == attempts > 100
    assert found.counts["numbers"] > 1000
    assert [reason.split(":")[0] for reason in found.unchecked] == [
        "grades by embedding", "perplexities", "prompts of yes_no", "operations of retraining"
    ]  # fmt: skip


@pytest.mark.parametrize("anew", [False, True], ids=["manifest as it was", "manifest made anew"])
def test_a_changed_grade_is_named(bundle: Path, changed: Callable[..., Verification], anew: bool) -> None:
    number, row = next((n, r) for n, r in enumerate(lines_of(bundle, "probe/grades.jsonl"), 1) if r["leaked"])
    found = changed(edit_line("probe/grades.jsonl", number, leaked=False, score=0.0), anew=anew)
    named = f"probe/grades.jsonl, line {number} (attempt {row['attempt']})"
    assert f"{named}: says 0.0 (not leaked" in places(found)
    assert "probe/grades.jsonl: is not what the stage probe wrote" in places(found)
    assert (f"{named}: was changed after it was packed" in places(found)) is not anew


@pytest.mark.parametrize("anew", [False, True], ids=["manifest as it was", "manifest made anew"])
def test_a_changed_attempt_is_named(bundle: Path, changed: Callable[..., Verification], anew: bool) -> None:
    rows = lines_of(bundle, "probe/attempts.jsonl")
    number, row = next(
        (n, r)
        for n, r in enumerate(rows, 1)
        if r["model"] == "unlearned"
        and r["attack"] == "direct"
        and r["tier"] == "new_form"
        and r["reply"] != r["expected"]
    )
    found = changed(edit_line("probe/attempts.jsonl", number, reply=row["expected"]), anew=anew)
    assert f"line {number} (attempt {row['id']}): says" in places(found)
    assert "attacks.direct.tiers.new_form.unlearned.rate: is" in places(found)
    assert "probe/attempts.jsonl: is not what the stage probe wrote" in places(found)


@pytest.mark.parametrize("anew", [False, True], ids=["manifest as it was", "manifest made anew"])
def test_a_changed_config_value_is_named(changed: Callable[..., Verification], anew: bool) -> None:
    found = changed(edit_json("run.json", "config", "probe", "threshold", value=0.9), anew=anew)
    if anew:
        assert "verdict" in places(found)
    else:
        assert "run.json: config probe.threshold: is 0.9; when it was packed it was 0.15" in places(found)


CHANGES: dict[str, tuple[Change, str]] = {
    "a rate": (
        edit_json("report/metrics.json", "concepts", "all concepts", "attacks", "direct", "tiers", "new_form",
                  "unlearned", "rate", value=0.123),
        "report/metrics.json: concepts.all concepts.attacks.direct.tiers.new_form.unlearned.rate: is 0.123, and",
    ),
    "an agreement": (
        edit_json("report/metrics.json", "graders", "rates", "embedding", "base", "rate", value=0.123),
        "report/metrics.json: graders.rates.embedding.base.rate: is 0.123, and",
    ),
    "a grade beside": (
        edit_line("probe/grades.jsonl", 1, beside={"rouge_l": {"score": 0.1, "leaked": False, "reason": "made up"}}),
        "says something else by rouge_l than grading again does",
    ),
    "a cost": (
        edit_json("report/metrics.json", "cost", "flops", "unlearn", value=1.0),
        "report/metrics.json: cost.flops.unlearn: is 1.0, and",
    ),
    "an area under a curve": (
        edit_json("report/metrics.json", "white_box", "utility", "value", "base", value=0.5),
        "report/metrics.json: white_box.utility.value.base: is 0.5, and",
    ),
    "the commitment": (
        edit_json("run.json", "data", "probe", value="0" * 64),
        "unlearn/stage.json: the set probe was another when unlearning began",
    ),
    "no commitment": (edit_json("run.json", "data", value={}), "run.json: data: does not commit"),
    "a stage": (
        edit_json("unlearn/stage.json", "fingerprint", value="other"),
        "probe/stage.json: rests on another unlearn than the bundle holds",
    ),
    "a file more": (lambda files: files.update({"more.txt": b""}), "more.txt: is in the bundle and not in its"),
    "a file less": (lambda files: files.pop("mine/summary.json"), "mine/summary.json: is in the manifest and not"),
    "a line less": (
        lambda files: files.update({"probe/grades.jsonl": files["probe/grades.jsonl"].partition(b"\n")[2]}),
        "probe/grades.jsonl: is not of these attempts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_else_was_changed_is_named(changed: Callable[..., Verification], what: str) -> None:
    change, named = CHANGES[what]
    assert named in places(changed(change, anew=what not in ("a file more", "a file less")))


BROKEN: dict[str, tuple[Change, str]] = {
    "no attempts": (lambda files: files.pop("probe/attempts.jsonl"), "is not of these attempts|nothing can be counted"),
    "a reply that is no text": (edit_line("probe/attempts.jsonl", 2, reply=5), "line 2 of probe/attempts.jsonl: reply"),
    "a score that is no number": (edit_line("probe/grades.jsonl", 3, score="x"), "line 3 of probe/grades.jsonl: score"),
    "an attack that nobody made": (edit_line("probe/attempts.jsonl", 1, model="nobody"), ""),
    "a config of another version": (edit_json("run.json", "config", "probe", value={"x": 1}), "not one of this version"),
    "no JSON": (lambda files: files.update({"run.json": b"{"}), "run.json is not JSON that can be read"),
    "no object": (lambda files: files.update({"run.json": b"[]"}), "run.json is not a JSON object"),
    "deep JSON": (lambda files: files.update({"run.json": b"[" * 100_000}), "run.json is not JSON that can be read"),
    "no UTF-8": (lambda files: files.update({"run.json": b"\xff"}), "run.json is not UTF-8"),
    "another format": (edit_json(MANIFEST, "format", value=1), "format 1, this version reads 2"),
    "no manifest": (lambda files: files.pop(MANIFEST), f"it has no {MANIFEST}"),
    "no measurements": (lambda files: files.pop("probe/measurements.json"), "it has no probe/measurements.json"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_bundle_that_cannot_be_counted_is_refused_in_words(bundle: Path, tmp_path: Path, what: str) -> None:
    change, words = BROKEN[what]
    broken = pack(bundle, change, tmp_path / "broken.zip")
    if what in ("no attempts", "an attack that nobody made"):
        assert verify_bundle(broken).mismatches
        return
    with pytest.raises(DataError, match=words) as caught:
        verify_bundle(broken)
    assert caught.value.file == str(broken)


def test_what_is_no_bundle_is_refused(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        verify_bundle(tmp_path / "absent.zip")
    (tmp_path / "text.zip").write_text("no archive", encoding="utf-8")
    with pytest.raises(DataError, match="no bundle, or a broken one"):
        verify_bundle(tmp_path / "text.zip")
    content = bytearray(bundle.read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(content)
    with pytest.raises(DataError, match="no bundle, or a broken one"):
        verify_bundle(tmp_path / "flipped.zip")
    monkeypatch.setattr(contents, "MOST_BYTES", 10_000)
    with pytest.raises(DataError, match="larger than 10,000 bytes"):
        verify_bundle(bundle)


def test_a_run_that_is_not_finished_has_no_bundle(values: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    config = Config.model_validate({**values, "output": str(finished.with_name("begun"))})
    begun = run(config, until="compose").folder
    committed = read_json(begun / "run.json")["data"]
    assert committed["probe"] == file_hash(begun / "compose" / "probe.jsonl")  # before anything was unlearned
    assert set(committed) == {"forget", "retain", "validation", "probe", "collateral"}
    assert read_json(finished / "unlearn" / "stage.json")["committed"] == committed
    with pytest.raises(ConfigError, match="not finished"):
        write_bundle(begun)
    with pytest.raises(ConfigError, match=r"no run\.json"):
        write_bundle(tmp_path)
    with pytest.raises(ConfigError, match="this is a folder"):
        write_bundle(finished, tmp_path)


def test_the_command_says_what_it_checked_and_leaves_with_1_where_something_differs(
    finished: Path, bundle: Path, tmp_path: Path
) -> None:
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "concept_forget.cli", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    made = command("bundle", finished, "--out", tmp_path / "run.zip")
    assert (made.returncode, made.stderr) == (0, "")
    assert file_hash(tmp_path / "run.zip") in made.stdout
    right = command("verify", tmp_path / "run.zip")
    assert (right.returncode, right.stdout.splitlines()[-1]) == (0, "verdict  all of it matches")
    wrong = command("verify", pack(bundle, edit_line("probe/grades.jsonl", 1, reason="x"), tmp_path / "wrong.zip"))
    assert wrong.returncode == 1
    assert "MISMATCH probe/grades.jsonl, line 1 (attempt " in wrong.stdout
    absent = command("verify", tmp_path / "absent.zip")
    assert (absent.returncode, "Traceback" in absent.stderr) == (2, False)
