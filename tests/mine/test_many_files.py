"""A corpus of 200 files: every good row is mined, and every bad one is listed with its file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet
import pytest

from concept_forget.config import Config
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.mine import stage
from concept_forget.mine.readers import READERS
from concept_forget.workspace import Costs, StageContext, read_json

FILES = 200
BOM = b"\xef\xbb\xbf"
Row = str | bytes | None  # a text; bytes that are none; None: a row without a text


@dataclass
class Made:
    """A file, the texts that can be read from it, and its lines or rows that cannot."""

    name: str
    content: bytes
    good: list[str] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)


def json_lines(rows: list[Row]) -> list[tuple[bytes, str | None]]:
    return [
        (json.dumps({"text": row}, ensure_ascii=False).encode() if not isinstance(row, bytes) else row,
         row if isinstance(row, str) else None)
        for row in rows
    ]  # fmt: skip


def separated(rows: list[Row], delimiter: str) -> list[tuple[bytes, str | None]]:
    def line(*values: str) -> bytes:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="").writerow(values)
        return out.getvalue().encode()

    lines: list[tuple[bytes, str | None]] = [(line("id", "text"), "")]
    for number, row in enumerate(rows):
        if isinstance(row, str):
            lines.append((line(str(number), row), row))
        else:
            lines.append((line("a", "b", "c") if row is None else row, None))
    return lines


def paragraphs(rows: list[Row]) -> list[tuple[bytes, str | None]]:
    lines: list[tuple[bytes, str | None]] = []
    for row in rows:
        if row is not None:
            lines.append((row.encode() if isinstance(row, str) else row, row if isinstance(row, str) else None))
            lines.append((b"", ""))
    return lines


BROKEN = {"json": b'{"text": "cut', "csv": b'1,"x"y', "tsv": b'1\t"x"y', "text": b"no \xff text"}


def by_lines(kind: str, rows: list[Row]) -> list[tuple[bytes, str | None]]:
    """Lines, each with its text; an empty one where the line is neither a row nor broken."""
    rows = [BROKEN[kind] if row == b"broken" else row for row in rows]
    if kind == "json":
        return json_lines(rows)
    return paragraphs(rows) if kind == "text" else separated(rows, "," if kind == "csv" else "\t")


KINDS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "text", ".text": "text", ".md": "text"}  # fmt: skip
VARIANTS = ("plain", "bom", "crlf", "bom crlf", "gz", "bom crlf gz", "gz cut")


def make_lines(name: str, kind: str, variant: str, rows: list[Row]) -> Made:
    lines = by_lines(kind, rows)
    end = b"\r\n" if "crlf" in variant else b"\n"
    content = end.join(line for line, _ in lines) + end
    if "bom" in variant:
        content = BOM + content
    whole = len(lines)
    if "gz" in variant:
        name += ".gz"
        packed = gzip.compress(content, mtime=0)
        if "cut" in variant:
            packed = packed[: len(packed) * 2 // 3]
            content = zlib.decompressobj(wbits=31).decompress(packed)
            whole = content.count(b"\n")
        made = Made(name, packed)
    else:
        made = Made(name, content)
    for number, (_, text) in enumerate(lines[:whole], start=1):
        if text is None:
            made.bad.append(number)
        elif text:
            made.good.append(text)
    if "cut" in variant:
        made.bad.append(whole + 1)
        rest = content.rsplit(b"\n", 1)[-1].decode("utf-8", "ignore").strip()
        if kind == "text" and rest:  # running text is used up to the cut
            made.good.append(rest)
    return made


def make_table(ending: str, number: int, rows: list[Row]) -> Made:
    texts = [row if isinstance(row, str) else None for row in rows]
    made = Made(f"{number}{ending}", b"", [text for text in texts if text is not None])
    made.bad = [place for place, text in enumerate(texts, start=1) if text is None]
    out = io.BytesIO()
    table = pa.table({"text": texts})
    if ending == ".parquet":
        pyarrow.parquet.write_table(table, out)
    elif ending == ".arrow":
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    else:
        out.write(json.dumps([{"text": text} for text in texts], ensure_ascii=False).encode())
    made.content = out.getvalue()
    if number % 3 == 0:  # a table that is cut short is no table, an array one up to its last whole row
        made.content = made.content[: len(made.content) // 2]
        whole = made.content.count(b"},") if ending == "array.json" else 0
        made.good = [text for text in texts[:whole] if text is not None]
        made.bad = [*(place for place in made.bad if place <= whole), whole + 1]
    return made


def corpus() -> Iterator[Made]:
    rng = Random(0)
    endings = [*KINDS, ".parquet", ".arrow", "array.json"]
    for number in range(FILES):
        rows: list[Row] = [f"Row {row} of file {number} tells of Dünholm and of nothing else." for row in range(4)]
        for _ in range(rng.randint(0, 3)):
            rows.insert(rng.randint(0, len(rows)), rng.choice((None, b"broken")))
        ending = endings[number % len(endings)]
        if ending in KINDS:
            variant = VARIANTS[number // len(endings) % len(VARIANTS)]
            yield make_lines(f"{number:03}{ending}", KINDS[ending], variant, rows)
        else:
            yield make_table(ending, number, rows)


def test_every_good_row_of_200_files_is_mined_and_every_bad_one_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made = list(corpus())
    assert {Path(one.name.removesuffix(".gz")).suffix for one in made} == set(READERS)
    for one in made:
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / one.name).write_bytes(one.content)
    config = Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "models/base",
            "corpus": ["data"],
            "mine": {"embedder": str(tiny_encoder), "recall_check": 0},
        }
    )
    (tmp_path / "mine").mkdir()
    context = StageContext(config, tmp_path / "mine", {}, {}, tmp_path / "replies.sqlite", Costs())
    stage.run(context)
    lines = (tmp_path / "mine" / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    listed = Counter((row["file"], row["line"]) for row in map(json.loads, lines))
    assert listed == Counter((f"data/{one.name}", line) for one in made for line in one.bad)
    assert len(listed) > 200
    good = [text for one in made for text in one.good]
    assert len(good) > 500
    summary = read_json(tmp_path / "mine" / "summary.json")
    assert summary["chunks"] == summary["scored"] == len(good)
    embedder = Embedder(find_encoder(str(tiny_encoder)), tmp_path / VECTORS)
    embedder.encode(good)
    assert embedder.flops == 0  # each has its vector
    embedder.close()
