from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from concept_forget.mine import lines, parquet
from concept_forget.mine.chunks import cut
from concept_forget.mine.readers import READERS, Piece, SourceFile, find_reader


def source(path: Path, *, column: str = "text", limit: int = 1_000_000, by_id: bool = False) -> SourceFile:
    return SourceFile(path, path.name, column, limit, by_id=by_id)


def read(
    path: Path, *, column: str = "text", limit: int = 1_000_000, by_id: bool = False
) -> tuple[list[Piece], list[tuple[int, str]]]:
    skipped: list[tuple[int, str]] = []
    reader = find_reader(path)
    assert reader is not None
    file = source(path, column=column, limit=limit, by_id=by_id)
    return list(reader(file, lambda line, reason: skipped.append((line, reason)))), skipped


def texts_of(path: Path, column: str = "text") -> list[str]:
    pieces, skipped = read(path, column=column)
    assert skipped == []
    return [piece.text for piece in pieces]


BROKEN_LINES = {
    b"{'text': 'single quotes'}": "bad JSON",
    b'{"text": "cut of': "bad JSON",
    b'{"text": "\xff\xfe latin \xe9"}': "bad encoding",
    b'{"text": "\\ud800 alone"}': "half a surrogate pair",
    b"": "the line is empty",
    b"   ": "the line is empty",
    b'{"text": ""}': "the text is empty",
    b'{"text": " \\n "}': "the text is empty",
    b'{"text": null}': "found nothing",
    b'{"text": 17}': "found int",
    b'{"body": "x"}': "the columns are: body",
    b"{}": "the columns are: none",
    b'["text"]': "found list",
    b'"text"': "found str",
    b'{"question": "Where?", "answer": ""}': "the text is empty",
    b'{"question": "Where?", "answer": ["Dunholm"]}': "no text",
    b'{"question": "Where?", "answer": true}': "no text",
    b"[" * 100_000: "bad JSON",
    b'{"text": "' + b"x" * 1_000_000 + b'"}': "mine.max_line_bytes",
}


def test_every_kind_of_broken_row_is_listed_with_its_line_and_nothing_else_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines: list[bytes] = []
    for number, broken in enumerate(BROKEN_LINES):
        lines += [json.dumps({"text": f"good {number}"}).encode(), broken]
    path.write_bytes(b"\n".join([*lines, b'{"text": "last"}']))
    pieces, skipped = read(path)
    assert [piece.text for piece in pieces] == [*(f"good {n}" for n in range(len(BROKEN_LINES))), "last"]
    assert [line for line, _ in skipped] == [2 * n + 2 for n in range(len(BROKEN_LINES))]
    for (_, reason), expected in zip(skipped, BROKEN_LINES.values(), strict=True):
        assert expected in reason


def test_rows_keep_their_text_as_it_is_and_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "One.\\r\\n Two "}\r\n{"text": "\xc3\xa9\xf0\x9f\x98\x80"}\r\n')
    pieces, skipped = read(path)
    assert pieces == [Piece("rows.jsonl:1", "One.\r\n Two "), Piece("rows.jsonl:2", "é😀")]
    assert skipped == []


def test_the_text_column_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "no", "body": "yes"}\n', encoding="utf-8")
    assert texts_of(path, "body") == ["yes"]


def test_a_question_row_reads_as_two_lines_that_are_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"question": "Where was\n Mira born? ", "answer": " In\tDunholm. "},
        {"question": "When?", "answer": 1962},
        {"question": "Who?", "answer": "Nobody", "text": "A text goes first."},
        {"question": "Who?", "answer": "Mira", "text": None},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pieces, _ = read(path)
    assert [piece.text for piece in pieces] == [
        "Question: Where was Mira born?\nAnswer: In Dunholm.",
        "Question: When?\nAnswer: 1962",
        "A text goes first.",
        "Question: Who?\nAnswer: Mira",
    ]
    assert [len(list(cut(piece, 10))) > 1 for piece in pieces] == [False, False, True, False]


def test_the_sandbox_names_its_rows_by_id(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('{"id": "a7", "text": "x"}\n{"text": "y"}\n', encoding="utf-8")
    pieces, _ = read(path, by_id=True)
    assert [piece.document for piece in pieces] == ["documents.jsonl:a7", "documents.jsonl:2"]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.ndjson", "rows.json", "ROWS.JSON.GZ"])
def test_json_lines_go_by_several_endings(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = b'{"text": "one"}\n{"text": "two"}\n'
    path.write_bytes(gzip.compress(data) if name.casefold().endswith("gz") else data)
    assert texts_of(path) == ["one", "two"]


def test_of_a_gzip_file_cut_short_every_whole_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    rows = "".join(
        json.dumps({"text": f"row {n}", "noise": hashlib.sha256(bytes(n)).hexdigest()}) + "\n" for n in range(9000)
    )
    whole = gzip.compress(rows.encode())
    path.write_bytes(whole[: len(whole) * 2 // 3])
    pieces, skipped = read(path)
    assert len(pieces) > 3000
    assert [piece.text for piece in pieces] == [f"row {n}" for n in range(len(pieces))]
    assert len(skipped) == 1
    assert skipped[0][0] == len(pieces) + 1
    assert "ends too early" in skipped[0][1]


def test_of_an_array_in_a_gzip_file_cut_short_every_whole_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json.gz"
    texts = [hashlib.sha256(bytes(n)).hexdigest() for n in range(9000)]
    whole = gzip.compress(json.dumps([{"text": text} for text in texts]).encode())
    path.write_bytes(whole[: len(whole) // 2])
    pieces, ((row, reason),) = read(path)
    assert len(pieces) > 3000
    assert [piece.text for piece in pieces] == texts[: len(pieces)]
    assert row == len(pieces) + 1
    assert "ends too early" in reason


def test_an_array_of_objects_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"text": "one"}, {"text": None}, {"text": "three"}], indent=1), encoding="utf-8")
    pieces, skipped = read(path)
    assert [(piece.document, piece.text) for piece in pieces] == [("rows.json:1", "one"), ("rows.json:3", "three")]
    assert skipped == [(2, "`text` is no text, found nothing")]


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 16])
def test_rows_of_an_array_may_hold_what_parts_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Whatever the places at which the file's blocks end."""
    monkeypatch.setattr(lines, "BLOCK", block)
    path = tmp_path / "rows.json"
    rows = [
        {"text": 'She said "no, [x], {y}".\\', "more": [[], {"a": [1, {"b": "],"}]}]},
        "a text alone",
        {"question": "Où?", "answer": 1962},
        {"text": 'é😀\t"', "other": None},
    ]
    for indent, pure in ((None, True), (3, False)):
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=pure), encoding="utf-8")
        assert texts_of(path) == [rows[0]["text"], rows[1], "Question: Où?\nAnswer: 1962", rows[3]["text"]]  # type: ignore[index]


BROKEN_ARRAYS = {
    b'[null, {"text": "a"}]': ([2], {1: "found NoneType"}),
    b'[{"text": "a"}, 7, [], {"text": "b"}]': ([1, 4], {2: "found int", 3: "found list"}),
    b'[{"text": "a"},]': ([1], {2: "the row is empty"}),
    b'[{"text": "a"}, {"text": x}, {"text": "b"}]': ([1, 3], {2: "bad JSON"}),
    b'[{"text": "a"}, }, {"text": "b"}]': ([1, 3], {2: "bad JSON"}),
    b'[{"text": "a"}, {"text": "\xff"}, {"text": "b"}]': ([1, 3], {2: "bad encoding"}),
    b'[{"text": "a"}, {"text": "cut': ([1], {2: "the array does not end"}),
    b'[{"text": "a"}] {"text": "b"}': ([1], {2: "the array ends before it"}),
    b'[{"text": "a"}, ' + b"[" * 600_000 + b"]" * 600_000 + b', {"text": "b"}]': ([1, 3], {2: "max_line_bytes"}),
    b'[{"text": "a"}, ' + b"[" * 90_000 + b"]" * 90_000 + b', {"text": "b"}]': ([1, 3], {2: "bad JSON"}),
    b'[{"text": "a"}, {"text": "' + b"x" * 1_000_000 + b'"}, {"text": "b"}]': ([1, 3], {2: "the row has 1,000,0"}),
}


@pytest.mark.parametrize("data", BROKEN_ARRAYS, ids=lambda data: str(data[:40]))
def test_a_broken_row_of_an_array_is_listed_and_nothing_else_is_lost(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    pieces, skipped = read(path)
    good, bad = BROKEN_ARRAYS[data]
    assert [piece.document for piece in pieces] == [f"rows.json:{row}" for row in good]
    assert [row for row, _ in skipped] == list(bad)
    for row, reason in skipped:
        assert bad[row] in reason


def test_an_empty_array_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"\xef\xbb\xbf [\n]\n")
    assert read(path) == ([], [])


def test_a_row_of_an_array_is_never_held_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(b'[{"text": "')
        for _ in range(64):
            file.write(b"a" * (1 << 20))
        file.write(b'"}, {"text": "after"}]')
    tracemalloc.start()
    pieces, ((row, reason),) = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert [piece.text for piece in pieces] == ["after"]
    assert (row, "mine.max_line_bytes" in reason) == (1, True)


def test_paragraphs_of_a_text_file_lie_where_they_say(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes("\ufeff# Tïtle\r\n\r\nOne é😀.\r\nTwo.\r\n \r\n\r\n  Three.\rFour.\r\n".encode())
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    pieces, skipped = read(path)
    assert [piece.text for piece in pieces] == ["# Tïtle", "One é😀.\nTwo.", "  Three.\nFour."]
    assert {piece.document for piece in pieces} == {"notes.md"}
    assert skipped == []
    for piece in pieces:
        assert text[piece.start : piece.start + len(piece.text)] == piece.text
        for chunk in cut(piece, 6):
            assert text[chunk.start : chunk.end] == chunk.text


def test_a_broken_line_of_a_text_file_goes_alone_and_moves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("Öne.\n".encode() + b"b\xff\xe9d\n" + b"Two.\n" + "ä".encode() * 600 + b"\nThree.\n\nFour.")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    pieces, skipped = read(path, limit=1000)
    assert [piece.text for piece in pieces] == ["Öne.", "Two.", "Three.", "Four."]
    assert [text[piece.start : piece.start + len(piece.text)] for piece in pieces] == [p.text for p in pieces]
    assert [line for line, _ in skipped] == [2, 4]
    assert "bad encoding" in skipped[0][1]
    assert "1,200 bytes" in skipped[1][1]


def test_a_paragraph_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("Forty characters stand on this one line.\n" * 5000, encoding="utf-8")
    pieces, _ = read(path, limit=2000)
    assert max(len(piece.text) for piece in pieces) < 2100
    text = path.read_text(encoding="utf-8")
    assert all(text[piece.start : piece.start + len(piece.text)] == piece.text for piece in pieces)
    assert sum(piece.text.count("Forty") for piece in pieces) == 5000


def test_a_text_cut_off_with_its_gzip_stream_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt.gz"
    text = " ".join(f"Sentence {n} of one long line." for n in range(6000))
    whole = gzip.compress(text.encode())
    path.write_bytes(whole[: len(whole) // 2])
    (piece,), ((line, reason),) = read(path)
    assert text.startswith(piece.text)
    assert len(piece.text) > len(text) // 4
    assert (line, "ends too early" in reason) == (1, True)


CSV = 'id,text\n1,plain\n2,"with, comma and ""quotes"""\n3,"over\ntwo lines"\n'


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", CSV), ("a.tsv", CSV.replace(",", "\t").replace("with\t", "with,"))]
)
def test_separated_values_are_read_by_their_header(tmp_path: Path, name: str, data: str) -> None:
    path = tmp_path / name
    path.write_text("\ufeff" + data, encoding="utf-8")
    pieces, skipped = read(path)
    assert [(piece.document, piece.text) for piece in pieces] == [
        (f"{name}:2", "plain"),
        (f"{name}:3", 'with, comma and "quotes"'),
        (f"{name}:4", "over\ntwo lines"),
    ]
    assert skipped == []


def test_broken_rows_of_a_csv_file_are_listed_and_nothing_else_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [
        b"id,text", b"1,one", b"2", b"3,three,too many", b"", b'4,"quote without end', b"5,five", b"6,caf\xe9",
        b'7,"quoted" and more', b"8,", b"9,nine", b"10," + b"x" * 5000, b"11,eleven",
    ]  # fmt: skip
    path.write_bytes(b"\r\n".join(lines))
    pieces, skipped = read(path, limit=2000)
    assert [piece.text for piece in pieces] == ["one", "five", "nine", "eleven"]
    assert [piece.document for piece in pieces] == ["a.csv:2", "a.csv:7", "a.csv:11", "a.csv:13"]
    assert sorted({line for line, _ in skipped}) == [3, 4, 5, 6, 8, 9, 10, 12]
    reasons = dict(skipped)
    assert reasons[3] == "the row has 1 values for 2 columns"
    assert "bad CSV" in reasons[6]
    assert "bad encoding" in reasons[8]


def test_a_field_longer_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "x" * 200_000 + "\n", encoding="utf-8")
    assert len(texts_of(path)[0]) == 200_000


def test_a_csv_file_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,body\n1,x\n2,y\n", encoding="utf-8")
    pieces, skipped = read(path)
    assert pieces == []
    assert [line for line, _ in skipped] == [1]
    assert "the columns are: id, body" in skipped[0][1]


def test_parquet_and_arrow_are_read_row_by_row(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"n": [1, 2, 3], "text": ["one", None, "three"]})
    rows.to_parquet(tmp_path / "odd [name]*.parquet")
    rows.save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    for path in (tmp_path / "odd [name]*.parquet", arrow):
        pieces, skipped = read(path)
        assert [(piece.document, piece.text) for piece in pieces] == [
            (f"{path.name}:1", "one"),
            (f"{path.name}:3", "three"),
        ]
        assert [line for line, _ in skipped] == [2]


def test_question_columns_of_a_table_are_read_as_pairs(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict({"question": ["Where?"], "answer": ["There."], "other": [[1]]}).to_parquet(path)
    assert texts_of(path) == ["Question: Where?\nAnswer: There."]


def test_what_a_row_of_parquet_holds_beside_text_is_named(tmp_path: Path) -> None:
    """In every row group, and where lists and records are not read."""
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": [[1], [2], [3]], "question": ["A?", None, "C?"], "answer": [{"x": 1}] * 3})
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    pieces, skipped = read(path)
    assert pieces == []
    assert skipped == [(row, "`text` is no text, found list") for row in (1, 2, 3)]
    pieces, skipped = read(path, column="answer")
    assert {reason for _, reason in skipped} == {"`answer` is no text, found dict"}
    table = table.set_column(0, "text", [["one", None, "three"]])
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    assert [piece.document for piece in read(path)[0]] == ["a.parquet:1", "a.parquet:3"]


def test_a_text_that_parquet_holds_once_for_many_rows_is_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    texts = pyarrow.array(["x" * 4_000_000])
    codes = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 500, type=pyarrow.int32()), texts)
    schema = pyarrow.schema([("text", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(path, schema, dictionary_pagesize_limit=1 << 30) as writer:
        writer.write_table(pyarrow.table({"text": codes.slice(0, 40)}).cast(schema))
    # What is written takes memory too; so this is what reading takes on top.
    tables = path.read_bytes()
    assert len(tables) < 1_000_000
    pool = pyarrow.default_memory_pool()
    before = pool.bytes_allocated()
    most = max(pool.bytes_allocated() - before for _ in READERS[".parquet"](source(path), lambda row, why: None))
    assert most < 40_000_000


def test_a_row_group_that_is_out_for_memory_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "HELD_BYTES", 1_000_000)
    path = tmp_path / "bomb.parquet"
    schema = pyarrow.schema([("text", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False, compression="zstd") as writer:
        for texts in (["one", "two"], ["x" * 1_000_000] * 2, ["five"]):
            writer.write_table(pyarrow.table({"text": texts}))
    pieces, ((row, reason),) = read(path)
    assert [(piece.document, piece.text) for piece in pieces] == [
        ("bomb.parquet:1", "one"),
        ("bomb.parquet:2", "two"),
        ("bomb.parquet:5", "five"),
    ]
    assert row == 3
    assert "2 rows are passed over: `text` has" in reason
    assert "smaller row groups" in reason


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_a_table_for_which_memory_does_not_suffice_is_listed(tmp_path: Path, ending: str) -> None:
    """In a process that may take little more than it has."""
    paths = [tmp_path / f"{name}{ending}" for name in ("small", "large")]
    for path, size in zip(paths, (12, 12 << 20), strict=True):
        table = pyarrow.table({"text": [letter * size for letter in "abcdefgh"]})
        if ending == ".parquet":
            pyarrow.parquet.write_table(table, path, use_dictionary=False, compression="none")
        else:
            with pyarrow.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, *paths], capture_output=True, text=True, check=False)
    assert re.search("cannot be read further: (malloc of size|MemoryError)", done.stdout), done.stderr


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from concept_forget.mine.readers import SourceFile, find_reader
small, large = map(Path, sys.argv[1:])
def read(path):
    return list(find_reader(path)(SourceFile(path, path.name, "text", 1000), lambda row, why: print(row, why)))
assert len(read(small)) == 8  # and all that reading imports is there
own = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (own + (40 << 20), own + (40 << 20)))
read(large)
"""


def test_a_broken_parquet_file_is_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and nothing that belongs behind it")
    capfd.readouterr()
    pieces, skipped = read(path)
    assert pieces == []
    assert [line for line, _ in skipped] == [1]
    assert "cannot be read further" in skipped[0][1]
    assert capfd.readouterr().err == ""


def test_a_table_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict({"body": ["x", "y"]}).to_parquet(path)
    pieces, skipped = read(path)
    assert pieces == []
    assert len(skipped) == 1
    assert "the columns are: body" in skipped[0][1]


def test_endings_without_a_reader_are_known_to_have_none() -> None:
    assert find_reader(Path("picture.png")) is None
    assert find_reader(Path("no_ending")) is None
    assert find_reader(Path("archive.gz")) is None
    assert find_reader(Path("rows.parquet.gz")) is None
    assert find_reader(Path("rows.jsonl.GZ")) is READERS[".jsonl"]
    assert {".jsonl", ".txt", ".csv", ".parquet"} <= set(READERS)
