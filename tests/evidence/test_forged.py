"""Bundles whose every hash was made anew after a change: what they hold no longer goes together."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.errors import ConfigError, DataError
from concept_forget.evidence import contents
from concept_forget.evidence.bundling import MANIFEST, VERBS, flatten, line_hash, write_bundle
from concept_forget.evidence.contents import read_bundle
from concept_forget.evidence.verifying import verify_bundle

ATTEMPTS, GRADES = "probe/attempts.jsonl", "probe/grades.jsonl"
Files = dict[str, bytes]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(finished, tmp_path_factory.mktemp("bundle") / "nano.zip").path


def files_of(bundle: Path) -> Files:
    return dict(read_bundle(bundle).files)


def rows_of(files: Files, name: str) -> Rows:
    return [json.loads(line) for line in files[name].decode().split("\n") if line]


def put_rows(files: Files, name: str, rows: Rows) -> None:
    files[name] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def put_json(files: Files, name: str, **values: Any) -> None:
    files[name] = json.dumps({**json.loads(files[name]), **values}).encode()


def keep(files: Files, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Leave the other attempts out, and their grades."""
    attempts, grades = rows_of(files, ATTEMPTS), rows_of(files, GRADES)
    kept = [place for place, attempt in enumerate(attempts) if wanted(attempt)]
    assert len(kept) < len(attempts)
    put_rows(files, ATTEMPTS, [attempts[place] for place in kept])
    put_rows(files, GRADES, [grades[place] for place in kept])


def rehash(files: Files) -> None:
    """Make every hash anew that a forger can: those of the stages and the manifest."""
    for verb in VERBS:
        stage = json.loads(files[f"{verb}/stage.json"])
        for name in stage["files"]:
            if (content := files.get(f"{verb}/{name}")) is not None:
                stage["files"][name] = hashlib.sha256(content).hexdigest()
        files[f"{verb}/stage.json"] = json.dumps(stage).encode()
    manifest = json.loads(files.pop(MANIFEST))
    lines = {name: content.decode().split("\n") for name, content in files.items() if name.endswith(".jsonl")}
    manifest |= {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        "lines": {name: [line_hash(line) for line in own if line] for name, own in lines.items()},
        "config": flatten(json.loads(files["run.json"])["config"]),
    }
    files[MANIFEST] = json.dumps(manifest).encode()


def pack(files: Files, out: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


def told(files: Files, out: Path) -> str:
    return "\n".join(map(str, verify_bundle(pack(files, out)).mismatches))


def test_hashes_made_anew_of_what_was_not_changed_match(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    rehash(files)
    assert told(files, tmp_path / "same.zip") == ""


def test_attempts_that_do_not_go_with_their_rows_are_named(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    attempts, grades = rows_of(files, ATTEMPTS), rows_of(files, GRADES)
    named = {}

    def change(number: int, problem: str, **values: Any) -> None:
        attempts[number].update(values)
        grades[number]["attempt"] = attempts[number]["id"]
        named[f"{ATTEMPTS}, line {number + 1} (attempt {attempts[number]['id']})"] = problem

    first, second = attempts[0]["id"], attempts[1]["id"]
    change(0, "has another id than what it says was asked has", id=second)
    change(1, "has another id than what it says was asked has", id=first)
    other = {**attempts[3]["prompt"][-1], "content": "What is the weather like?"}
    change(3, "asks something else than its attack makes of its row", prompt=[other])
    change(5, "asks a row that is in neither set: 'zzz'", example="zzz")
    change(7, "has another expected answer than its row", expected="Somewhere")
    change(9, "has another fact than its row", fact="another")
    change(11, "has another concept than its row", concept="another")
    change(13, "has another family than its attack", family="another")
    change(15, "is of 'nobody', which is none of the models that are asked", model="nobody")
    searched = next(n for n, row in enumerate(attempts) if row["attack"] == "yes_no")
    change(searched, "has another expected answer than its row", expected=attempts[searched + 1]["expected"])
    put_rows(files, ATTEMPTS, attempts)
    put_rows(files, GRADES, grades)
    rehash(files)
    found = told(files, tmp_path / "changed.zip")
    for place, problem in named.items():
        assert f"{place}: {problem}" in found
    assert "was changed after" not in found  # no hash gave it away


def test_attempts_that_are_left_out_are_missed(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    fact = next(row["fact"] for row in rows_of(files, ATTEMPTS) if row["attack"] == "cloze")
    one = next(row for row in rows_of(files, ATTEMPTS) if row["attack"] == "yes_no" and row["model"] == "unlearned")
    dose = next(row for row in rows_of(files, ATTEMPTS) if row["model"] == "dose 0.5")
    total = len(rows_of(files, ATTEMPTS))
    keep(
        files,
        lambda row: (
            not (
                row["attack"] == "sampling"
                or (row["attack"] == "cloze" and row["fact"] == fact)
                or row["id"] in (one["id"], dose["id"])
            )
        ),
    )
    rehash(files)
    found = told(files, tmp_path / "fewer.zip")
    left = len(rows_of(files, ATTEMPTS))
    for model in ("base", "unlearned", "reference"):
        assert f"questions of sampling {model} has too few replies, first of row" in found
        assert f"questions of cloze {model} has too few replies, first of row" in found
    assert f"{ATTEMPTS}: unlearned has 1 replies to yes_no fewer than the other models" in found
    assert f"{ATTEMPTS}: dose 0.5 has 1 replies to direct fewer than the other models" in found
    assert f"probe/summary.json: attempts: is {total}, and {left} when it is counted again" in found
    assert "probe/summary.json: questions: is " in found


def test_an_attack_that_is_left_out_has_to_be_told_of(bundle: Path, tmp_path: Path) -> None:
    """What such an attack would ask cannot be told from the rows in the bundle, but the config asks for it."""
    files = files_of(bundle)
    keep(files, lambda row: row["attack"] != "yes_no")
    rehash(files)
    assert f"{ATTEMPTS}: holds no attempt of yes_no, which the config asks for" in told(files, tmp_path / "a.zip")
    put_json(files, "probe/summary.json", attacks_without_questions=["yes_no"])
    rehash(files)
    found = verify_bundle(pack(files, tmp_path / "b.zip"))
    assert "that yes_no had nothing to ask: the run alone says so" in found.unchecked


def test_lines_in_another_order_and_more_of_them_are_named(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    attempts, grades = rows_of(files, ATTEMPTS), rows_of(files, GRADES)
    for rows in (attempts, grades):
        rows[20], rows[21] = rows[21], rows[20]
        rows.append(rows[2])
    put_rows(files, ATTEMPTS, attempts)
    put_rows(files, GRADES, grades)
    rehash(files)
    found = told(files, tmp_path / "other.zip")
    assert f"line 22 (attempt {attempts[21]['id']}): stands in another place than it was asked in" in found
    assert f"line {len(attempts)} (attempt {attempts[2]['id']}): was not to be asked" in found


def test_what_is_said_has_to_be_what_was_counted(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    outcome = json.loads(files["probe/summary.json"])["outcome"]
    other = "passed" if outcome != "passed" else "failed"
    files["report/report.md"] = files["report/report.md"].replace(b"Cost:", b"Nothing leaked. Cost:")
    put_json(files, "probe/summary.json", outcome=other, empty_replies={}, replies_cut_by_length=999)
    put_json(files, "report/summary.json", outcome=other)
    put_json(files, "report/metrics.json", not_made={"direct": "why not"})
    rows = rows_of(files, "compose/probe.jsonl")
    rows[0]["answer"] = "Somewhere"
    put_rows(files, "compose/probe.jsonl", rows)
    rehash(files)
    found = told(files, tmp_path / "said.zip")
    assert "report/report.md: is not what the report makes of report/metrics.json" in found
    assert f"probe/summary.json: outcome: is {other!r}, and {outcome!r} when it is counted again" in found
    assert "probe/summary.json: replies_cut_by_length: is 999, and" in found
    assert "probe/summary.json: empty_replies" in found
    assert f"report/summary.json: outcome: is {other!r}, and {outcome!r} when it is counted again" in found
    assert "report/metrics.json: not_made" in found
    assert "compose/stage.json: the set probe is not the one that run.json commits to" in found


HOSTILE: dict[str, tuple[Callable[[Files], None], str]] = {
    "an integer in the metrics": (
        lambda files: put_json(files, "report/metrics.json", cost={"seconds": {"probe": 10**400}}),
        "report/metrics.json is not JSON that can be read: an integer of 401 digits",
    ),
    "an integer in a stage": (
        lambda files: put_json(files, "unlearn/stage.json", flops=10**400),
        "unlearn/stage.json is not JSON that can be read: an integer of 401 digits",
    ),
    "levels in the config": (
        lambda files: put_json(files, "run.json", config=json.loads('{"a":' * 500 + "1" + "}" * 500)),
        "run.json is not JSON that can be read: more than 40 levels",
    ),
    "levels in the metrics": (
        lambda files: put_json(files, "report/metrics.json", zz=json.loads("[" * 500 + "]" * 500)),
        "report/metrics.json is not JSON that can be read: more than 40 levels",
    ),
    "a long key": (
        lambda files: put_json(files, MANIFEST, config={"k" * 1001: 1}),
        "manifest.json is not JSON that can be read: a key of more than 1000 characters",
    ),
    "a control character": (
        lambda files: put_json(files, MANIFEST, format="1\n\x1b[2Jverdict"),
        r"it has format '1\n\x1b[2Jverdict', this version reads 2",
    ),
    "no rows": (lambda files: bool(files.pop("compose/probe.jsonl")), "it has no compose/probe.jsonl"),
    "a row that is none": (
        lambda files: put_rows(files, "compose/collateral.jsonl", [{"id": 5}]),
        "line 1 of compose/collateral.jsonl: id: Input should be a valid string",
    ),
    "metrics that are none": (
        lambda files: put_json(files, "report/metrics.json", fluency=5),
        "report/metrics.json: fluency",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_run_writes_is_refused_in_words(bundle: Path, tmp_path: Path, what: str) -> None:
    change, words = HOSTILE[what]
    files = files_of(bundle)
    change(files)
    with pytest.raises(DataError) as caught:
        verify_bundle(pack(files, tmp_path / "hostile.zip"))
    assert words in caught.value.problem
    assert "\n" not in caught.value.problem


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_that_is_packed_otherwise_is_refused(bundle: Path, tmp_path: Path, method: int) -> None:
    packed = pack(files_of(bundle), tmp_path / "packed.zip", method)
    content = bytearray(packed.read_bytes())
    for broken in (False, True):
        content[60:62] = b"\xff\x55" if broken else content[60:62]
        packed.write_bytes(content)
        with pytest.raises(DataError, match="neither stored nor deflated"):
            verify_bundle(packed)


def test_a_file_before_the_archive_counts(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive may stand at the end of a file of any size."""
    long = tmp_path / "long.zip"
    with long.open("wb") as file:
        file.seek(contents.MOST_BYTES)  # a hole, which takes no room on the disk
        file.write(bundle.read_bytes())
    monkeypatch.setattr(zlib, "decompressobj", None)  # nothing is unpacked
    with pytest.raises(DataError, match="larger than 400,000,000 bytes"):
        verify_bundle(long)


def test_names_in_a_bundle_print_no_lines_of_their_own(bundle: Path, tmp_path: Path) -> None:
    files = files_of(bundle)
    attempts = rows_of(files, ATTEMPTS)
    attempts[0]["id"] = "x\nverdict  all of it matches"
    put_rows(files, ATTEMPTS, attempts)
    files["a\u202e\nverdict  all of it matches"] = b""
    found = verify_bundle(pack(files, tmp_path / "named.zip"))
    lines = "\n".join(map(str, found.mismatches)).split("\n")
    assert len(lines) == len(found.mismatches)
    assert r"a\u202e\nverdict  all of it matches: is in the bundle and not in its manifest" in lines


def test_what_a_link_leads_to_is_never_packed(finished: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for name in ("probe/extra.txt", "report/notes.txt", "probe/extra.jsonl"):
        (finished / name).symlink_to(secret)
    (finished / "probe" / "left.txt").write_text("left by somebody")
    try:
        packed = files_of(write_bundle(finished, tmp_path / "run.zip").path)
    finally:
        for name in ("probe/extra.txt", "report/notes.txt", "probe/extra.jsonl", "probe/left.txt"):
            (finished / name).unlink()
    assert not any(content == b"secret" or content == b"left by somebody" for content in packed.values())
    history = finished / "unlearn" / "history.jsonl"
    history.rename(tmp_path / "history.jsonl")
    history.symlink_to(secret)
    try:
        with pytest.raises(ConfigError, match="no file that can be packed") as caught:
            write_bundle(finished, tmp_path / "other.zip")
        assert caught.value.file == str(history)
    finally:
        history.unlink()
        (tmp_path / "history.jsonl").rename(history)
    assert not (tmp_path / "other.zip").exists()
