from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import CorpusSource
from concept_forget.config.verbs import MineConfig
from concept_forget.mine import index_building, stage
from concept_forget.mine.index_building import build_index
from tests.mine.test_stage import PEOPLE, config_of, context_of, snippets_in

FOLLOWING = "She was taught by Agnes Barlow there, and sailed on every river of the county in the years after."
THINGS = [f"{adjective} {noun}" for adjective in "old new red low tall dark".split() for noun in "mill canal forge inn bridge tower ferry".split()]  # fmt: skip
FILLER = [f"The {thing} was painted in {year}." for thing in THINGS for year in range(1900, 1908)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of over three hundred rows, of which few are about anybody."""
    folder = tmp_path_factory.mktemp("indexed")
    rows = [*FILLER[:200], *(text for texts in PEOPLE.values() for text in texts), *FILLER[200:]]
    rows.insert(100, f"{PEOPLE['Mira Kestrel'][0]}\n\n{FOLLOWING}\n\n{FILLER[0]}")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in rows) + "not a row\n"
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return folder


def mine(
    here: Path, monkeypatch: pytest.MonkeyPatch, index: str | None, precision: str = "float32"
) -> tuple[list[Any], dict[str, Any], bytes]:
    monkeypatch.chdir(here)
    settings = {"index": index, "top_k": 40, "precision": precision}
    context = context_of(config_of(["rows.jsonl"], mine=settings), here)
    summary = stage.run(context)
    return snippets_in(context), summary, (context.folder / "skipped.jsonl").read_bytes()


def build(here: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> str:
    monkeypatch.chdir(here)
    monkeypatch.setattr(index_building, "LEAST", 300)
    build_index([CorpusSource(path="rows.jsonl")], Path(kind), kind, MineConfig(), lambda line: None)
    return str(kind)


def test_a_flat_index_gives_what_the_corpus_gives_and_encodes_none_of_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = mine(here, monkeypatch, None)
    index = build(here, monkeypatch, "flat")
    (here / "vectors.sqlite").unlink()
    assert mine(here, monkeypatch, index) == direct
    context = context_of(config_of(["rows.jsonl"], mine={"index": index}), here)
    stage.run(context)
    assert context.costs.flops == 0  # its queries are kept too
    # Its vectors are in float32, and so are the queries that they are compared with.
    assert mine(here, monkeypatch, index, "bfloat16") == direct


def test_a_compressed_index_finds_what_teaches_and_what_stands_behind_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, counted, skipped = mine(here, monkeypatch, None)
    found, summary, skipped_here = mine(here, monkeypatch, build(here, monkeypatch, "ivf_pq"))
    teaching = {s.id: s.score for s in direct if not s.near_miss}
    assert {s.id: s.score for s in found if not s.near_miss} == pytest.approx(teaching, abs=2e-4)
    assert set(PEOPLE["Mira Kestrel"]) <= {s.text for s in found}
    near = {s.text for s in found if s.near_miss}
    # What goes on about her is none, though its chunk is looked up without the one before it that names her.
    assert FOLLOWING not in near
    others = {text for name, texts in PEOPLE.items() if name != "Mira Kestrel" for text in texts}
    assert others <= near
    assert skipped_here == skipped
    assert (summary["chunks"], summary["documents"]) == (counted["chunks"], counted["documents"])
