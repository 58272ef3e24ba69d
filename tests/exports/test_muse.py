from __future__ import annotations

from pathlib import Path

import pytest

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import is_plain_question
from concept_forget.exports.muse import RECITED_WORDS, as_text, cut
from concept_forget.workspace import read_json


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("muse") / "out"
    export_sets(finished_run, "muse", out)
    return out


def test_raw_texts_hold_passages_and_questions_as_muse_asks_them(exported: Path, sets: FinishedSets) -> None:
    for split, name in (("forget", "forget"), ("retain", "retain1")):
        rows = [r for r in sets.rows[split] if not r.prompt or is_plain_question(r)]  # type: ignore[index]
        texts = [row["text"] for row in read_json(exported / "raw" / f"{name}.json")]
        assert texts == [
            f"Question: {r.prompt[0]['content']}\nAnswer: {r.completion}" if r.prompt else r.completion for r in rows
        ]
        assert (exported / "raw" / f"{name}.txt").read_bytes().decode() == "\n\n".join(map(as_text, rows))


def test_the_text_files_are_read_by_datasets(exported: Path, tmp_path: Path) -> None:
    import datasets

    file = exported / "raw" / "forget.txt"
    loaded = datasets.load_dataset(
        "text", data_files=str(file), split="train", sample_by="document", cache_dir=str(tmp_path)
    )
    assert list(loaded["text"]) == [file.read_text(encoding="utf-8")]  # both read \r\n as \n


def test_questions_are_those_of_the_probe_and_of_collateral(exported: Path, sets: FinishedSets) -> None:
    for split, name in (("probe", "forget_qa"), ("collateral", "retain_qa")):
        asked = [(row["question"], row["answer"]) for row in read_json(exported / "knowmem" / f"{name}.json")]
        put = [row for row in sets.rows[split] if row.family != "completion"]
        assert asked == [(row.prompt[0]["content"], row.completion) for row in put]  # type: ignore[index]


def test_examples_come_from_validation_and_are_never_asked(exported: Path) -> None:
    shown = {row["question"] for row in read_json(exported / "knowmem" / "forget_qa_icl.json")}
    asked = {row["question"] for row in read_json(exported / "knowmem" / "forget_qa.json")}
    assert shown
    assert not shown & asked


def test_recited_texts_are_cut_in_two_and_together_whole(exported: Path, sets: FinishedSets) -> None:
    long = [r.completion for r in sets.passages("forget") if len(r.completion.split()) >= RECITED_WORDS]
    rows = read_json(exported / "verbmem" / "forget.json")
    assert [row["prompt"] + row["gt"] for row in rows] == long
    assert all(0.4 < len(row["prompt"]) / len(row["prompt"] + row["gt"]) < 0.6 for row in rows)
    assert len(long) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two three four", ("one two", " three four")),
        ("word", ("word", "")),
        (" word", (" word", "")),
        ("", ("", "")),
    ],
)
def test_a_text_is_cut_at_a_space(text: str, parts: tuple[str, str]) -> None:
    assert cut(text) == parts
