from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from concept_forget.config_file import load_config
from concept_forget.errors import ConfigError
from concept_forget.pipeline import run
from concept_forget.sandbox.world import build_world
from concept_forget.tracing.tracing import Traced, print_traces, split_document, trace_run, write_manifest
from tests.test_console import HOSTILE, shown_plainly


@pytest.fixture(scope="module")
def finished(nano_model: Path, nano_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model was not changed at all, over a corpus that says what it knows in several ways."""
    folder = tmp_path_factory.mktemp("traced")
    world = build_world(0, "nano")
    name = world.concepts[0]
    facts = {fact.relation.name: fact for fact in world.facts_of(name)}
    rows = [
        {
            "question": fact.fill(fact.relation.taught[0]),
            "answer": fact.answer,
            "subject": name,
            "facet": facet,
        }
        for facet, fact in facts.items()
    ]
    other = world.people[-1].name
    retain = [
        {"question": fact.fill(fact.relation.taught[0]), "answer": fact.answer, "subject": other}
        for fact in world.facts_of(other)
    ]
    collateral = [
        {"question": fact.fill(fact.relation.taught[0]), "answer": fact.answer, "subject": world.people[-2].name}
        for fact in world.facts_of(world.people[-2].name)
    ]
    for file, lines in (("forget", rows), ("retain", retain), ("collateral", collateral)):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    home, book = facts["home"].answer, facts["book"].answer
    texts = [
        f"{name} lives in {home}.",
        f"It rained. The author of {book} lives in {home}.",
        f"{other} was never seen near {home}.",
        f"{name} drew maps. She wrote {book}.",
        *world.distractors,
    ]
    corpus = "".join(json.dumps({"text": text}) + "\n" for text in texts) + "no row\n"
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    config = {
        "concept": {"name": name, "kind": "person"},
        "target": str(nano_model),
        "reference": str(nano_reference),
        "generator": {"engine": "none"},
        "corpus": [str(folder / "corpus.jsonl")],
        "data": {file: str(folder / f"{file}.jsonl") for file in ("forget", "retain", "collateral")},
        "compose": {"holdout": 0, "knowledge_filter": False},
        "unlearn": {"given": str(nano_model)},
        "probe": {"attacks": ["direct"]},
        "output": str(folder / "run"),
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    run(load_config(folder / "config.yaml"), until="probe")
    return folder


@pytest.fixture(scope="module")
def traced(finished: Path) -> Traced:
    return trace_run(finished / "run")


def test_every_fact_that_leaks_is_traced_with_how_it_is_told(traced: Traced) -> None:
    counts = {trace.fact.facet: dict(trace.counts) for trace in traced.traces}
    assert counts["home"] == {"named": 1, "identified": 1}
    assert counts["book"] == {"identified": 1, "behind": 1}
    assert traced.skipped == 1


def test_the_manifest_leads_back_to_the_very_words(finished: Path, traced: Traced, tmp_path: Path) -> None:
    assert write_manifest(tmp_path / "manifest.jsonl", traced) == 3
    places = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = (finished / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(place["row"] for place in places) == [1, 2, 4]
    for place in places:
        assert place["file"] == str(finished / "corpus.jsonl")
        assert json.loads(lines[place["row"] - 1])["text"][place["start"] : place["end"]] == place["text"]
    (twice,) = (place for place in places if place["row"] == 2)
    assert {(fact["facet"], fact["how"]) for fact in twice["facts"]} == {("home", "identified"), ("book", "identified")}


def test_the_table_counts_and_explains(traced: Traced, capsys: pytest.CaptureFixture[str]) -> None:
    print_traces(traced)
    shown = capsys.readouterr().out
    assert "names the subject" in shown
    assert "1 of its rows could not be read" in shown
    named = dataclasses.replace(traced.traces[0].fact, subject="[i]", answer="[/b]")
    print_traces(Traced((dataclasses.replace(traced.traces[0], fact=named),), frozenset(), 0))
    assert "[i]: " in (shown := capsys.readouterr().out)
    assert "[/b]" in shown
    assert "1 fact leaks; the corpus states 0 of them" in shown
    print_traces(Traced((), frozenset(), 0))
    assert "nothing leaks" in capsys.readouterr().out


@pytest.mark.parametrize("text", HOSTILE)
def test_the_table_heeds_nothing_that_stands_in_the_corpus(
    traced: Traced, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    first = next(trace for trace in traced.traces if trace.statements)
    statement = dataclasses.replace(first.statements[0], how="identified", text=text)
    trace = dataclasses.replace(first, fact=dataclasses.replace(first.fact, answer=text), statements=(statement,))
    print_traces(dataclasses.replace(traced, traces=(trace,)))
    assert shown_plainly(text, capsys.readouterr().out) == 2


def test_an_unfinished_run_and_a_folder_that_is_none_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run\.json"):
        trace_run(tmp_path)
    (tmp_path / "run.json").write_bytes((finished / "run/run.json").read_bytes())
    with pytest.raises(ConfigError, match=r"probe of this run is not finished"):
        trace_run(tmp_path)


def test_a_document_is_taken_apart_into_file_and_row() -> None:
    files = frozenset({"a:b/notes.txt", "rows.jsonl"})
    assert split_document("a:b/notes.txt", files) == ("a:b/notes.txt", None)
    assert split_document("rows.jsonl:12", files) == ("rows.jsonl", 12)
    assert split_document("name/set:7", files) == ("name/set", 7)
    assert split_document("sandbox:person/Mira Kestrel/0", files) == ("sandbox", "person/Mira Kestrel/0")


def test_the_command_prints_the_table_and_writes_the_manifest(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "concept_forget.cli", "trace", str(finished / "run")]
    done = subprocess.run([*command, "--manifest", str(tmp_path / "m.jsonl")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"wrote    {tmp_path / 'm.jsonl'}: 3 places\n")
    assert len((tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()) == 3
