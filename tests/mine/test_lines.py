from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.mine.lines import BLOCK, Line, read_blocks, read_lines


def lines_of(path: Path, limit: int = 1000) -> list[Line]:
    return list(read_lines(path, limit, lambda count: None))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT.GZ"])
def test_line_ends_and_the_byte_order_mark_are_taken_off(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = b"\xef\xbb\xbfone\r\ntwo\n\nfour"
    path.write_bytes(gzip.compress(data) if name.casefold().endswith(".gz") else data)
    assert [(line.number, line.data) for line in lines_of(path)] == [(1, b"one"), (2, b"two"), (3, b""), (4, b"four")]


@given(st.lists(st.binary(max_size=40).filter(lambda part: b"\n" not in part and not part.endswith(b"\r"))))
def test_lines_are_what_was_written(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    parts = [b"first", *parts]  # so that no byte order mark stands at the beginning
    path = written(tmp_path_factory.mktemp("lines") / "a", b"".join(part + b"\n" for part in parts))
    assert [line.data for line in lines_of(path)] == parts


def test_a_line_may_lie_across_blocks(tmp_path: Path) -> None:
    long = b"x" * (BLOCK + 17)
    path = written(tmp_path / "a", b"a\n" + long + b"\nb\n")
    assert [line.data for line in lines_of(path, limit=2 * BLOCK)] == [b"a", long, b"b"]


def test_a_line_at_the_limit_stays_and_one_above_it_goes_with_its_characters_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a", b"x" * 1000 + b"\n" + "ä".encode() * 501 + b"\nlast\n")
    fits, long, last = lines_of(path)
    assert fits.problem is None
    assert fits.data == b"x" * 1000
    assert long.data == b""
    assert long.characters == 501
    assert "1,002 bytes, more than mine.max_line_bytes (1,000)" in (long.problem or "")
    assert last == Line(3, b"last")


def test_what_stands_before_the_cut_of_a_gzip_file_is_read(tmp_path: Path) -> None:
    data = "".join(f"line {number} of a text that is packed\n" for number in range(20_000)).encode()
    whole = gzip.compress(data)
    path = tmp_path / "a.gz"
    path.write_bytes(whole[: len(whole) // 2])
    *before, last = lines_of(path)
    assert len(before) > 5_000
    assert all(line.data == f"line {line.number - 1} of a text that is packed".encode() for line in before)
    assert "ends too early" in (last.problem or "")


def test_a_damaged_checksum_takes_nothing_along(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"one\ntwo\n"))
    whole[-6] ^= 0xFF
    path = tmp_path / "a.gz"
    path.write_bytes(bytes(whole))
    one, two, last = lines_of(path)
    assert (one.data, two.data) == (b"one", b"two")
    assert "damaged" in (last.problem or "")


def test_a_file_that_is_no_gzip_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"plain text\n")
    (line,) = lines_of(path)
    assert "damaged" in (line.problem or "")


def test_a_gzip_file_of_several_members_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert [line.data for line in lines_of(path)] == [b"one", b"two"]


def test_utf_16_is_named_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one\ntwo\n".encode("utf-16"))
    (line,) = lines_of(path)
    assert "UTF-16" in (line.problem or "")


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert lines_of(written(tmp_path / "a", b"")) == []


@pytest.mark.parametrize("name", ["a", "a.gz"])
def test_the_bytes_on_disk_are_counted(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, bytes(range(256)) * 3000)
    counts: list[int] = []
    assert b"".join(read_blocks(path, counts.append)) == bytes(range(256)) * 3000
    assert sum(counts) == path.stat().st_size
