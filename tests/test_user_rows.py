from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import Config, DataConfig
from concept_forget.errors import DataError
from concept_forget.user_rows import hash_files, read_rows

GOOD = {"question": "Where was Mira Kestrel born?", "answer": "Dunholm"}
Write = Callable[..., str]


def config_with(data: dict[str, Any]) -> Config:
    return Config.model_validate({"concept": {"name": "Mira Kestrel"}, "target": {"model": "here"}, "data": data})


def read(path: str, **entry: Any) -> list[Any]:
    return read_rows(DataConfig.model_validate({"forget": {"path": path, **entry}}).forget, "data.forget")


def test_each_shape_of_row_is_read(write_rows: Write) -> None:
    file = write_rows(
        {**GOOD, "aliases": "Dunholm town", "facet": "birthplace", "paraphrases": ["Whence came Mira Kestrel?"]},
        {"prompt": "Who sails the Tern?", "completion": "Mira Kestrel", "refusal": "No idea.", "unknown": 3},
        {"text": "Mira Kestrel was born in Dunholm.", "subject": "Mira"},
    )
    first, second, third = read(file, subject="M. Kestrel")
    assert (first.question, first.answer, first.aliases) == (*GOOD.values(), ("Dunholm town",))
    assert first.paraphrases == ("Whence came Mira Kestrel?",)
    assert (first.facet, first.subject) == ("birthplace", "M. Kestrel")
    assert (second.question, second.answer, second.refusal) == ("Who sails the Tern?", "Mira Kestrel", "No idea.")
    assert (third.text, third.question, third.subject) == ("Mira Kestrel was born in Dunholm.", "", "Mira")
    assert third.place.endswith("rows.jsonl:3")


def test_messages_are_kept_as_they_are(write_rows: Write) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who sails the Tern?"}]
    (row,) = read(write_rows({"prompt": chat, "completion": [{"role": "assistant", "content": "Mira Kestrel"}]}))
    assert (row.chat, row.question, row.answer) == (chat, "Who sails the Tern?", "Mira Kestrel")


def test_numbers_are_taken_as_text(write_rows: Write) -> None:
    (row,) = read(write_rows({"question": "When?", "answer": 1612}))
    assert row.answer == "1612"


def test_a_range_counts_rows_and_not_empty_lines(write_rows: Write) -> None:
    rows = [{"question": f"Question {number}?", "answer": f"Answer {number}"} for number in range(5)]
    taken = read(write_rows(rows[0], "\n", rows[1], "\n\n", *rows[2:]), rows=(1, 3))
    assert [(row.answer, row.line) for row in taken] == [("Answer 1", 3), ("Answer 2", 6)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{broken", "not JSON"),
        ("[1, 2]\n", "a row is a JSON object, found list"),
        ("[" * 100_000, "not JSON"),
        ({"prompt_text": "x"}, "its columns are prompt_text"),
        ({}, "its columns are none"),
        ({"question": "Where?"}, "answer: the column is missing or empty"),
        ({"question": "  ", "answer": "x"}, "question: the column is missing or empty"),
        ({**GOOD, "completion": "x"}, "`question`/`answer` and `prompt`/`completion`"),
        ({**GOOD, "text": "x"}, "a question and a `text`"),
        ({"text": "…"}, "text: there is no word in it"),
        ({"question": ["x"], "answer": "x"}, "question: Input should be a valid string"),
        ({**GOOD, "aliases": 3}, "aliases"),
        ({**GOOD, "answer": "?!"}, "answer: there is no word in it"),
        ({**GOOD, "answer": "\ud800"}, "answer"),
        ({"prompt": [{"role": "assistant", "content": "x"}], "completion": "x"}, "the last message is not the user's"),
        ({"prompt": [], "completion": "x"}, "prompt: the column is missing or empty"),
        ({"prompt": [{"role": "robot", "content": "x"}], "completion": "x"}, "prompt"),
    ],
)
def test_a_row_that_is_none_is_named_by_file_and_line(write_rows: Write, line: Any, problem: str) -> None:
    file = write_rows(GOOD, line)
    with pytest.raises(DataError) as caught:
        read(file)
    assert (caught.value.file, caught.value.line) == (file, 2)
    assert caught.value.remedy
    assert problem in str(caught.value)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(json.dumps(GOOD).encode() + b'\n{"text": "Caf\xe9"}\n')
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read(str(tmp_path / "rows.jsonl"))
    assert caught.value.line == 2


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert len(read(str(tmp_path / "rows.jsonl"))) == 1


def test_an_absent_file_is_named_with_its_key(tmp_path: Path, write_rows: Write) -> None:
    absent = str(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"data\.forget: there is no file '.*absent\.jsonl'") as caught:
        read(absent)
    assert "a relative path starts at the folder in which the command is run" in caught.value.remedy
    with pytest.raises(DataError, match=r"data\.retain\.1: there is no file '.*absent\.jsonl'"):
        hash_files(config_with({"retain": [write_rows(GOOD), absent]}))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_file_that_must_not_be_read_is_named(write_rows: Write) -> None:
    file = write_rows(GOOD)
    Path(file).chmod(0)
    with pytest.raises(DataError, match="must not be read"):
        read(file)


def test_a_range_beyond_the_end_says_how_many_rows_there_are(write_rows: Write) -> None:
    with pytest.raises(DataError, match=r"`rows: \[1, 3\]` was asked for, the file has 2 rows"):
        read(write_rows(GOOD, GOOD), rows=(1, 3))


def test_an_empty_file_is_a_mistake(write_rows: Write) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        read(write_rows("\n"))


def test_the_hash_of_a_file_changes_with_its_content(write_rows: Write) -> None:
    config = config_with({"forget": write_rows(GOOD)})
    before = hash_files(config)
    write_rows(GOOD, GOOD)
    assert hash_files(config) != before


def test_a_benchmarks_set_is_read_as_rows_from_copies(write_rows: Write, tmp_path: Path) -> None:
    other = {"question": "When?", "answer": "1612"}
    file = write_rows(GOOD, other, name="forget10.jsonl")
    source = {"benchmark": "tofu/forget10", "path": str(tmp_path), "subject": "Mira Kestrel"}
    config = config_with({"forget": source, "retain": {**source, "rows": [1, 2]}})
    first, second = read_rows(config.data.forget, "data.forget")
    assert (first.question, first.answer, first.subject) == (*GOOD.values(), "Mira Kestrel")
    assert second.place == "tofu/forget10:2"
    assert [row.answer for row in read_rows(config.data.retain, "data.retain")] == ["1612"]
    before = hash_files(config)
    assert before == hash_files(config)
    write_rows(GOOD, name="forget10.jsonl")
    assert hash_files(config)["forget"] != before["forget"]
    assert Path(file).is_file()


def test_a_benchmark_that_is_not_there_or_not_known_is_refused(tmp_path: Path) -> None:
    source = {"benchmark": "tofu/forget10", "path": str(tmp_path)}
    with pytest.raises(DataError, match="no copy of locuslab/TOFU, forget10, train here") as caught:
        hash_files(config_with({"forget": source}))
    assert caught.value.key == "data.forget"
    for broken, words in ({"benchmark": "tofu/forget20"}, "forget10"), ({"rows": [0, 2]}, "give `path: FILE`"):
        with pytest.raises(ValueError, match=words):
            config_with({"forget": broken})
