from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file

from concept_forget.embedding import VectorStore
from concept_forget.engines.cache import RequestCache
from concept_forget.errors import ConceptForgetError, DataError, DiskFullError, StorageError
from concept_forget.faults import naming_faults
from concept_forget.storage import storage_fault
from concept_forget.workspace import Run, write_bytes
from tests.small_disk import SmallDisk, mounted

ROOM = 256 * 1024
NOISE = np.random.default_rng(0).bytes(2 * ROOM)


def keep_replies(folder: Path) -> None:
    cache = RequestCache(folder / "replies.sqlite")
    with contextlib.closing(cache):
        for number in range(40):
            cache.put({f"{number}-{n}": NOISE[:500].hex() for n in range(20)})


def keep_vectors(folder: Path) -> None:
    store = VectorStore(folder / "vectors.sqlite")
    with contextlib.closing(store):
        for number in range(40):
            store.add([(bytes([number, n]), np.ones(256, dtype=np.float32)) for n in range(20)])


def write_table(folder: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [NOISE.hex()]}), folder / "rows.parquet", compression="none")


WRITERS: dict[str, Callable[[Path], object]] = {
    "a file of the run": lambda folder: write_bytes(folder / "rows.jsonl", NOISE),
    "replies": keep_replies,
    "vectors": keep_vectors,
    "torch": lambda folder: torch.save(torch.zeros(ROOM), folder / "optimizer.pt"),
    "safetensors": lambda folder: save_file({"weight": torch.zeros(ROOM)}, folder / "model.safetensors"),
    "pyarrow": write_table,
    "datasets": lambda folder: Dataset.from_dict({"text": [NOISE.hex()] * 2}).save_to_disk(str(folder / "set")),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", ROOM) as disk:
        yield disk


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_whoever_writes_and_there_is_a_way_on(disk: SmallDisk, writer: str) -> None:
    with pytest.raises(DiskFullError) as caught, naming_faults(Path.cwd(), disk.folder):
        WRITERS[writer](disk.folder)
    assert f"the disk is full: {disk.folder}" in str(caught.value)
    assert " left\n" in str(caught.value)
    assert "make room" in str(caught.value)
    assert caught.value.exit_code == 3
    disk.resize(64 * ROOM)
    with naming_faults(disk.folder):
        WRITERS[writer](disk.folder)


def test_what_did_not_fit_leaves_no_part_of_itself(disk: SmallDisk) -> None:
    write_bytes(disk.folder / "rows.jsonl", b"old")
    with pytest.raises(OSError, match="No space left"):
        write_bytes(disk.folder / "rows.jsonl", NOISE)
    assert [path.name for path in disk.folder.iterdir()] == ["rows.jsonl"]
    assert (disk.folder / "rows.jsonl").read_bytes() == b"old"


def test_replies_that_were_kept_before_the_disk_was_full_are_still_there(disk: SmallDisk) -> None:
    cache = RequestCache(disk.folder / "replies.sqlite")
    kept = 0

    def fill() -> None:
        nonlocal kept
        for kept in range(10_000):
            cache.put({str(kept): NOISE[:500].hex()})

    with pytest.raises(DataError, match=r"full|disk I/O"):
        fill()
    assert kept > 10
    keys = [str(n) for n in range(kept)]
    assert cache.get(keys) == dict.fromkeys(keys, NOISE[:500].hex())
    cache.close()
    disk.resize(16 * ROOM)
    again = RequestCache(disk.folder / "replies.sqlite")
    assert set(again.get([*keys, str(kept)])) == set(keys)
    again.put({str(kept): "more"})
    again.close()


def test_the_command_line_tells_of_a_full_device_in_one_line() -> None:
    command = [sys.executable, "-m", "concept_forget.cli", "methods"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=os.environ)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("concept-forget: the disk is full")
    assert "Traceback" not in done.stderr


def test_a_read_only_disk_is_named_with_what_to_do(disk: SmallDisk) -> None:
    (disk.folder / "runs").mkdir()
    disk.forbid()
    with pytest.raises(StorageError, match="Read-only file system") as caught, naming_faults(disk.folder):
        write_bytes(disk.folder / "runs" / "a" / "run.json", b"{}")
    assert str(disk.folder / "runs" / "a") in str(caught.value)
    assert caught.value.exit_code == 2
    with (
        pytest.raises(ConceptForgetError, match=r"Read-only[\s\S]*name another"),
        Run(disk.folder / "runs" / "a").lock(),
    ):
        pass
    disk.allow()
    write_bytes(disk.folder / "runs" / "a" / "run.json", b"{}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_this_users_is_named(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    with pytest.raises(StorageError, match="Permission denied"), naming_faults(tmp_path):
        write_bytes(tmp_path / "theirs" / "run.json", b"{}")


def test_a_full_disk_is_known_by_its_number_in_any_language(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        assert isinstance(storage_fault(OSError(number, "voll"), [tmp_path]), DiskFullError)


def test_what_has_nothing_to_do_with_a_disk_is_left_as_it_is(tmp_path: Path) -> None:
    for error in (ValueError("no"), FileNotFoundError(2, "no such file"), DataError("there is no such file")):
        with pytest.raises(type(error), match="no"), naming_faults(tmp_path):
            raise error
    unreadable = DataError("it may not be read")
    unreadable.__cause__ = PermissionError(13, "Permission denied", str(tmp_path))
    assert storage_fault(unreadable, [tmp_path]) is None  # it has told the user already
