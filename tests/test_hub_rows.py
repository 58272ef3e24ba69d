"""Public sets are read from copies in every layout that they come in, and what is no copy is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from concept_forget.errors import DataError
from concept_forget.hub_rows import HubSet, read_hub_set

SOURCE = HubSet("cais/wmdp", "wmdp-bio", "test")
ROWS: list[dict[str, Any]] = [
    {"question": "Which?", "choices": ["a", "b", "c", "d"], "answer": 2},
    {"question": "2012-01-01", "choices": ["1", "2", "3", "4"], "answer": 0},
]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    "place",
    [
        "wmdp-bio.jsonl",
        "wmdp-bio.json",
        "wmdp-bio.parquet",
        "wmdp-bio/test.jsonl",
        "wmdp/wmdp-bio/test-00000-of-00001.parquet",
    ],
)
def test_a_copy_is_found_where_people_keep_it(place: str, tmp_path: Path) -> None:
    write(tmp_path / place, ROWS)
    write(tmp_path / Path(place).parent / "train-00000-of-00001.jsonl", [{"another": "split"}])
    assert read_hub_set(SOURCE, tmp_path, "--data") == ROWS


def test_a_set_in_several_files_is_read_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "wmdp-bio" / "test-00001-of-00002.parquet", ROWS[1:])
    write(tmp_path / "wmdp-bio" / "test-00000-of-00002.parquet", ROWS[:1])
    assert read_hub_set(SOURCE, tmp_path, "--data") == ROWS


BROKEN = {
    "not JSON": ("wmdp-bio.jsonl", b'{"a": 1}\n{', "not JSON", 2),
    "not an object": ("wmdp-bio.jsonl", b'{"a": 1}\n[1]\n', "a row is a JSON object", 2),
    "not UTF-8": ("wmdp-bio.jsonl", b"\xff\n", "cannot be read", None),
    "not Parquet": ("wmdp-bio.parquet", b"no", "no Parquet", None),
    "not rows": ("wmdp-bio.json", b"[1]", "a row is a JSON object", None),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_table_of_rows_is_refused_by_file_and_line(case: str, tmp_path: Path) -> None:
    name, content, words, line = BROKEN[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_hub_set(SOURCE, tmp_path, "--data")
    assert (caught.value.file, caught.value.line) == (str(tmp_path / name), line)


def test_an_absent_copy_and_an_absent_hub_are_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no copy of cais/wmdp, wmdp-bio, test here") as caught:
        read_hub_set(SOURCE, tmp_path, "--data")
    assert "wmdp-bio.jsonl" in caught.value.remedy
    with pytest.raises(DataError, match="cannot be had from the hub") as caught:
        read_hub_set(HubSet("no-such/set", "none", "test"), None, "data.forget")
    assert caught.value.key == "data.forget"
