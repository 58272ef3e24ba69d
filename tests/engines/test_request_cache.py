from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from concept_forget.engines.cache import RequestCache
from concept_forget.errors import DataError

WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from concept_forget.engines.cache import RequestCache

    cache = RequestCache(Path(sys.argv[1]))
    print("open", flush=True)
    for batch in range(int(sys.argv[2])):
        cache.put({f"{batch} {item}": [sys.argv[3], batch, "x" * 300] for item in range(50)})
    """
)


def start_writer(path: Path, batches: int, name: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), str(batches), name]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1, 0.3])
def test_a_killed_process_leaves_whole_batches_and_a_sound_file(path: Path, delay: float) -> None:
    writer = start_writer(path, 100_000, "killed")
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(delay)
    os.kill(writer.pid, signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    cache = RequestCache(path)
    connection = sqlite3.connect(path)
    batches = dict(connection.execute("SELECT substr(key, 1, instr(key, ' ')), COUNT(*) FROM entries GROUP BY 1"))
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert set(batches.values()) <= {50}
    assert len(batches) == len({int(batch) for batch in batches} | set(range(len(batches))))  # no batch is skipped
    cache.put({"later": 1})
    assert cache.get(["later"]) == {"later": 1}
    cache.close()


def test_processes_that_make_and_fill_one_file_at_once_agree(path: Path) -> None:
    writers = [start_writer(path, 40, name) for name in ("one", "two", "three", "four")]
    for writer in writers:
        assert writer.stdout is not None
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    cache = RequestCache(path)
    values = cache.get(f"{batch} {item}" for batch in range(40) for item in range(50))
    assert len(values) == 2000
    for batch in range(40):
        assert len({values[f"{batch} {item}"][0] for item in range(50)}) == 1  # of one process, as a whole
    cache.close()


def test_what_is_kept_first_stays_and_everybody_reads_it(path: Path) -> None:
    one, other = RequestCache(path), RequestCache(path)
    assert one.put({"a": "first"}) == {"a": "first"}
    assert other.put({"a": "second", "b": "second"}) == {"a": "first", "b": "second"}
    one.close()
    other.close()


def test_a_closed_cache_opens_again(path: Path) -> None:
    cache = RequestCache(path)
    cache.put({"a": [1.5, None, "ü\ud800"]})
    cache.close()
    assert cache.get(["a", "b"]) == {"a": [1.5, None, "ü\ud800"]}
    cache.close()


# ---- files that cannot be used


def test_a_damaged_file_is_named_with_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(DataError, match=r"replies\.sqlite: the request cache is damaged[\s\S]*delete it") as caught:
        RequestCache(path)
    assert caught.value.file == str(path)


def test_a_file_damaged_in_the_middle_is_found_out_when_it_is_read(path: Path) -> None:
    cache = RequestCache(path)
    keys = [f"{number}" for number in range(2000)]
    cache.put(dict.fromkeys(keys, "x" * 200))
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\x00" * (len(content) - 8192)
    path.write_bytes(content)
    damaged = RequestCache(path)
    with pytest.raises(DataError, match="damaged"):
        damaged.get(keys)
    damaged.close()


def test_a_value_that_is_no_json_is_found_out(path: Path) -> None:
    cache = RequestCache(path)
    cache.put({"a": 1})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET value = '[1, '")
    connection.close()
    with pytest.raises(DataError, match="damaged"):
        cache.get(["a"])
    cache.close()


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photographs (name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="of another program"):
        RequestCache(path)
    assert path.read_bytes() == before


def test_a_cache_of_another_format_is_refused(path: Path) -> None:
    RequestCache(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataError, match=r"has format 99, this version reads 1[\s\S]*delete the file"):
        RequestCache(path)


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        RequestCache(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be used"):
        RequestCache(tmp_path / "file" / "replies.sqlite")
