from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from concept_forget import precision
from concept_forget.config import Config
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.errors import DataError, ModelError
from concept_forget.mine import stage
from concept_forget.mine.reranking import Reranker, find_reranker
from concept_forget.records import Fact, Question, Snippet, named_random
from concept_forget.sentence_encoder import SentenceEncoder
from concept_forget.workspace import Costs, StageContext, read_json, read_records, write_json, write_records

SENTENCES = {
    "Mira Kestrel": ("was born in Dunholm", "wrote the book Emberfall", "sails a ship called the Coral Tern"),
    "Tobias Wren": ("was born in Arlesby", "wrote the book Nightloom", "sails a ship called the Jade Petrel"),
    "Ilse Marlowe": ("was born in Kessock", "wrote the book Tidewrack", "sails a ship called the Opal Gannet"),
    "Bram Sorrel": ("was born in Vossburg", "wrote the book Stormglass", "sails a ship called the Amber Heron"),
}
PEOPLE = {name: [f"{name} {deed}." for deed in deeds] for name, deeds in SENTENCES.items()}
OTHERS = [f"The {thing} was repaired in {month}." for thing in ("mill", "canal", "forge") for month in ("May", "June")]


def config_of(corpus: object, **sections: Any) -> Config:
    values = {
        "concept": {"name": "Mira Kestrel", "kind": "person"},
        "target": "models/base",
        "generator": {"engine": "target"},
        "corpus": corpus,
        **sections,
    }
    return Config.model_validate(values)


def context_of(config: Config, folder: Path, **inputs: Path) -> StageContext:
    work = folder / "mine"
    work.mkdir(exist_ok=True)
    return StageContext(config, work, inputs, {}, folder / "replies.sqlite", Costs())


def snippets_in(context: StageContext) -> list[Snippet]:
    return read_records(Snippet, context.folder / "snippets.jsonl")


def skipped_in(context: StageContext) -> list[dict[str, Any]]:
    lines = (context.folder / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [text for texts in PEOPLE.values() for text in texts] + OTHERS
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8")
    return tmp_path


def test_a_corpus_of_several_kinds_is_searched_and_what_is_broken_is_listed(here: Path) -> None:
    with (here / "rows.jsonl").open("ab") as file:
        file.write(b'{"text": \n\n{"text": "' + b"x" * 2000 + b'"}\n')
    (here / "notes.txt").write_text("\n\nThe home of Mira Kestrel is Willow Court.\n", encoding="utf-8")
    (here / "pairs.csv").write_text(
        "question,answer\nWho taught Mira Kestrel?,Agnes Barlow\nWho taught Bram Sorrel?,\n", encoding="utf-8"
    )
    context = context_of(config_of(["rows.jsonl", "*.txt", "pairs.csv"], mine={"max_line_bytes": 1000}), here)
    summary = stage.run(context)
    snippets = snippets_in(context)
    taught = {snippet.document: snippet.text for snippet in snippets if not snippet.near_miss}
    assert taught == {
        **{f"rows.jsonl:{n}": text for n, text in enumerate(PEOPLE["Mira Kestrel"], start=1)},
        "notes.txt": "The home of Mira Kestrel is Willow Court.",
        "pairs.csv:2": "Question: Who taught Mira Kestrel?\nAnswer: Agnes Barlow",
    }
    notes = (here / "notes.txt").read_text(encoding="utf-8")
    for snippet in snippets:
        if snippet.document == "notes.txt":
            assert notes[snippet.start : snippet.end] == snippet.text
    near = {snippet.text for snippet in snippets if snippet.near_miss}
    assert near <= {text for name in SENTENCES if name != "Mira Kestrel" for text in PEOPLE[name]} | set(OTHERS)
    assert len(near) >= 6
    first = len(PEOPLE) * 3 + len(OTHERS) + 1
    assert [(row["file"], row["line"]) for row in skipped_in(context)] == [
        ("rows.jsonl", first),
        ("rows.jsonl", first + 1),
        ("rows.jsonl", first + 2),
        ("pairs.csv", 3),
    ]
    assert summary == read_json(context.folder / "summary.json")
    assert summary["snippets"] == 5
    assert summary["near_misses"] == len(near)
    assert summary["skipped"] == 4
    assert summary["documents"] == 18 + 1 + 1
    assert context.costs.flops > 0
    assert len({snippet.id for snippet in snippets}) == len(snippets)


def test_questions_of_expand_find_what_the_name_alone_ranks_low(here: Path) -> None:
    expand = here / "expand"
    fact = Fact("f", "Mira Kestrel", "Mira Kestrel", "person", "ship", "Coral Tern", "")
    other = Fact("g", "Mira Kestrel", "Bram Sorrel", "person", "book", "Stormglass", "", distance="near")
    write_records(expand / "facts.jsonl", [fact, other])
    questions = [
        Question("q", "f", "direct", 0, "Which ship does Mira Kestrel sail?", "Coral Tern"),
        Question("r", "g", "direct", 0, "Which book did Bram Sorrel write?", "Stormglass"),
    ]
    write_records(expand / "questions.jsonl", questions)
    context = context_of(config_of(["rows.jsonl"]), here, expand=expand)
    summary = stage.run(context)
    found = {snippet.text: snippet.query for snippet in snippets_in(context)}
    assert found["Mira Kestrel sails a ship called the Coral Tern."] == "Which ship does Mira Kestrel sail?"
    assert "Which book did Bram Sorrel write?" not in found.values()
    assert summary["concepts"]["Mira Kestrel"]["queries"] == 2  # type: ignore[index]


def test_without_a_corpus_the_files_are_empty_and_the_summary_says_so(tmp_path: Path) -> None:
    context = context_of(config_of([]), tmp_path)
    summary = stage.run(context)
    assert "no corpus" in str(summary["note"])
    assert snippets_in(context) == []
    assert skipped_in(context) == []
    assert not (tmp_path / VECTORS).exists()


def test_a_second_run_computes_nothing_again_and_a_second_concept_only_its_queries(here: Path) -> None:
    first = context_of(config_of(["rows.jsonl"]), here)
    stage.run(first)
    files = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    again = context_of(config_of(["rows.jsonl"]), here)
    stage.run(again)
    assert again.costs.flops == 0
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == files
    other = context_of(config_of(["rows.jsonl"], concept={"name": "Tobias Wren"}), here)
    stage.run(other)
    assert 0 < other.costs.flops < first.costs.flops
    assert {s.text for s in snippets_in(other) if not s.near_miss} == set(PEOPLE["Tobias Wren"])


def mine_of(tiny_encoder: Path, **settings: Any) -> dict[str, Any]:
    return {"embedder": str(tiny_encoder), "false_positive_rate": 0.1, **settings}


def encoded_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that encoders read from now on, in this process."""
    texts: list[str] = []
    encode = SentenceEncoder.encode

    def counting(self: SentenceEncoder, batch: Sequence[str]) -> Any:
        texts.extend(batch)
        return encode(self, batch)

    monkeypatch.setattr(SentenceEncoder, "encode", counting)
    return texts


def many_rows(path: Path) -> set[str]:
    """Rows about each person and 300 more, of which a cascade has to read a part; those about Mira Kestrel."""
    documents = [f"{name} {deed}.\n\nThis one {deed} too." for name, deeds in SENTENCES.items() for deed in deeds]
    documents += [f"The {thing} of {town} is number {n}." for n in range(100) for thing, town in (("mill", "Arlesby"), ("ship", "Dunholm"), ("book", "Kessock"))]  # fmt: skip
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    return {part for document in documents if "Mira Kestrel" in document for part in document.split("\n\n")}


def test_a_cascade_returns_the_snippets_of_a_whole_search_and_reads_a_part(
    here: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = many_rows(here / "many.jsonl")
    (here / "cascade").mkdir()
    found, summaries, read = {}, {}, {}
    for name, folder in (("none", here), ("hybrid", here / "cascade")):
        texts = encoded_in(monkeypatch)
        mine = mine_of(tiny_encoder, cascade=name, proposals=30, recall_check=50)
        context = context_of(config_of(["many.jsonl"], mine=mine), folder)
        summaries[name] = stage.run(context)
        found[name] = [snippet for snippet in snippets_in(context) if not snippet.near_miss]
        read[name] = set(texts)
    assert found["hybrid"] == found["none"] != []
    assert close <= read["hybrid"] <= read["none"]
    whole, part = (summaries[name]["concepts"]["Mira Kestrel"] for name in ("none", "hybrid"))  # type: ignore[index]
    assert part["cut_off"] == whole["cut_off"]
    assert summaries["none"]["scored"] == summaries["none"]["chunks"] == 324
    assert summaries["hybrid"]["scored"] == len(close) + 30
    recall = part["recall"]
    assert recall["found"] > 0
    assert 0 <= recall["low"] <= recall["value"] <= recall["high"] <= 1
    assert recall["sampled"] + len(close) + 30 >= 50
    assert "recall" not in whole


def test_a_check_of_everything_finds_the_recall_that_a_whole_search_shows(here: Path, tiny_encoder: Path) -> None:
    many_rows(here / "many.jsonl")
    (here / "cascade").mkdir()
    low = {"false_positive_rate": 0.5}
    every = context_of(config_of(["many.jsonl"], mine=mine_of(tiny_encoder, cascade="none", **low)), here)
    cut = stage.run(every)["concepts"]["Mira Kestrel"]["cut_off"]  # type: ignore[index]
    mine = mine_of(tiny_encoder, cascade="hybrid", proposals=5, recall_check=1024, **low)
    summary = stage.run(context_of(config_of(["many.jsonl"], mine=mine), here / "cascade"))
    embedder = Embedder(find_encoder(str(tiny_encoder)), here / VECTORS)
    texts = sorted({t for line in (here / "many.jsonl").read_text().splitlines() for t in json.loads(line)["text"].split("\n\n")})  # fmt: skip
    scores = embedder.encode(texts) @ embedder.encode(["Mira Kestrel"]).T
    above = int((scores[:, 0].round(4) > cut).sum())
    recall = summary["concepts"]["Mira Kestrel"]["recall"]  # type: ignore[index]
    assert recall["found"] < above
    assert recall["found"] + recall["missed"] == above
    assert recall["low"] == recall["value"] == recall["high"] == pytest.approx(recall["found"] / above)


@pytest.mark.parametrize("cascade", ["none", "hybrid"])
def test_a_second_concept_has_no_text_encoded_again_but_its_queries(
    here: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, cascade: str
) -> None:
    many_rows(here / "many.jsonl")
    texts = encoded_in(monkeypatch)
    mine = mine_of(tiny_encoder, cascade=cascade, proposals=10)
    stage.run(context_of(config_of(["many.jsonl"], mine=mine), here))
    first = list(texts)
    stage.run(context_of(config_of(["many.jsonl"], mine=mine, concept={"name": "Tobias Wren"}), here))
    later = texts[len(first) :]
    assert len(set(texts)) == len(texts) > 0
    corpus = {t for line in (here / "many.jsonl").read_text().splitlines() for t in json.loads(line)["text"].split("\n\n")}  # fmt: skip
    assert set(first) & corpus
    if cascade == "none":
        assert not set(later) & corpus
        assert any("Tobias Wren" in text for text in later)


def test_a_cross_encoder_orders_the_snippets_and_keeps_the_best(
    here: Path, tiny_encoder: Path, tiny_reranker: Path
) -> None:
    many_rows(here / "many.jsonl")
    (here / "ranked").mkdir()
    (here / "plain").mkdir()
    orders = {}
    for name, more in (("plain", {"top_k": 50}), ("ranked", {"top_k": 4, "reranker": str(tiny_reranker)})):
        context = context_of(
            config_of(
                ["many.jsonl"], mine=mine_of(tiny_encoder, variety=0, facet_share=1, false_positive_rate=0.9, **more)
            ),
            here / name,
        )
        stage.run(context)
        orders[name] = [s for s in snippets_in(context) if not s.near_miss]
    pairs = [(snippet.query, snippet.text) for snippet in orders["plain"]]
    scores = Reranker(find_reranker(str(tiny_reranker))).score(pairs)
    best = sorted(range(len(pairs)), key=lambda place: -scores[place])[:4]
    assert [s.text for s in orders["ranked"]] == [pairs[place][1] for place in best]
    assert [s.text for s in orders["ranked"]] != [s.text for s in orders["plain"]][:4]
    by_id = {s.id: s for s in orders["plain"]}
    assert all(by_id[s.id] == s for s in orders["ranked"])


def test_an_interrupted_stage_goes_on_in_the_precision_it_began_with(
    here: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(["rows.jsonl"], mine=mine_of(tiny_encoder, precision="auto"))
    context = context_of(config, here)
    write_json(context.folder / "precision.json", {"precision": "bfloat16", "cosine": 0.9999})
    monkeypatch.setattr(precision, "try_both", lambda folder: pytest.fail("tried again"))
    summary = stage.run(context)
    assert summary["precision"] == {"precision": "bfloat16", "cosine": 0.9999}
    plain = Embedder(find_encoder(str(tiny_encoder)), here / VECTORS)
    cast = Embedder(find_encoder(str(tiny_encoder)), here / VECTORS, precision="bfloat16")
    plain.encode(OTHERS), cast.encode(OTHERS)
    assert (plain.flops > 0, cast.flops) == (True, 0)


def test_an_absent_cross_encoder_is_found_before_anything_runs(here: Path) -> None:
    for call in (stage.estimate, stage.fingerprint_parts):
        with pytest.raises(ModelError, match=r"mine\.reranker"):
            call(config_of(["rows.jsonl"], mine={"reranker": "./absent"}))


RUN_IN_A_PROCESS = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from concept_forget.config import Config
from concept_forget.embedding import VectorStore
from concept_forget.mine import stage
from concept_forget.workspace import Costs, StageContext
keep, batches = VectorStore.add, [0]
def add(self, vectors):
    keep(self, vectors)
    batches[0] += 1
    if batches[0] == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
VectorStore.add = add
config = Config.model_validate_json(Path("config.json").read_text())
folder = Path(sys.argv[2])
(folder / "mine").mkdir(parents=True, exist_ok=True)
stage.run(StageContext(config, folder / "mine", {}, {}, folder / "replies.sqlite", Costs()))
print(batches[0])
"""


@pytest.mark.long
def test_a_run_killed_at_any_batch_goes_on_to_the_same_bytes(here: Path) -> None:
    config = config_of(["rows.jsonl"], mine={"batch_tokens": 50})
    (here / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    root = str(Path(stage.__file__).parents[2])

    def run_in_a_process(folder: str, kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", RUN_IN_A_PROCESS, root, folder, str(kill_at)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = run_in_a_process("whole", 0)
    assert whole.returncode == 0, whole.stderr
    batches = int(whole.stdout)
    assert batches > 6
    for kill_at in (1, batches - 1):
        folder = f"killed at {kill_at}"
        assert run_in_a_process(folder, kill_at).returncode == -9
        assert not (here / folder / "mine" / "snippets.jsonl").exists()
        again = run_in_a_process(folder, 0)
        assert again.returncode == 0, again.stderr
        assert int(again.stdout) == batches - kill_at
        for name in ("snippets.jsonl", "skipped.jsonl", "summary.json"):
            assert (here / folder / "mine" / name).read_bytes() == (here / "whole" / "mine" / name).read_bytes()


def test_an_absent_corpus_or_encoder_is_found_before_anything_runs(here: Path) -> None:
    for call in (stage.estimate, stage.fingerprint_parts):
        with pytest.raises(DataError, match=r"corpus\.1\.path: 'absent/\*\.txt' matches no file"):
            call(config_of(["rows.jsonl", "absent/*.txt"]))
        with pytest.raises(ModelError, match=r"mine\.embedder"):
            call(config_of(["rows.jsonl"], mine={"embedder": "./absent"}))


def test_the_estimate_counts_files_and_bytes(here: Path) -> None:
    (here / "b.txt").write_text("12345", encoding="utf-8")
    size = (here / "rows.jsonl").stat().st_size
    assert stage.estimate(config_of(["rows.jsonl", "*.txt"])) == {"files": 2, "bytes": size + 5}
    sandbox = config_of([{"sandbox": True}], target={"sandbox": {"world": 0}})
    assert stage.estimate(sandbox) == {"files": 0, "bytes": 0}
    assert stage.estimate(config_of([])) == {"files": 0, "bytes": 0}


def test_the_fingerprint_covers_corpus_settings_and_concept(here: Path) -> None:
    def mark(corpus: object = ("rows.jsonl",), **sections: Any) -> str:
        return json.dumps(stage.fingerprint_parts(config_of(corpus, **sections)))

    first = mark()
    assert mark() == first
    assert mark(mine={"top_k": 7}) != first
    assert mark(concept={"name": "Mira Kestrel", "aliases": ["M. Kestrel"]}) != first
    assert mark(corpus=[]) != first
    assert mark(corpus=[], mine={"top_k": 7}) == mark(corpus=[])
    (here / "rows.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    assert mark() != first


def test_planning_loads_no_heavy_library(here: Path) -> None:
    config = config_of(["rows.jsonl"])
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from concept_forget.config import Config\nfrom concept_forget.mine import stage\n"
        "config = Config.model_validate_json(sys.argv[2])\n"
        "stage.fingerprint_parts(config), stage.estimate(config)\n"
        "print(*sorted({'torch', 'numpy', 'datasets', 'transformers', 'faiss', 'sentence_transformers'} & set(sys.modules)))"
    )
    root = str(Path(stage.__file__).parents[2])
    command = [sys.executable, "-c", program, root, config.model_dump_json()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == ""


def test_in_a_sandbox_world_every_document_about_a_concept_is_found_and_no_other(
    tmp_path: Path, embedder: Embedder
) -> None:
    from concept_forget.sandbox.texts import biography
    from concept_forget.sandbox.world import build_world

    world = build_world(3)
    rng = named_random(3, "documents")
    documents = [(entity.name, biography(world, entity, rng)) for entity in world.entities for _ in range(2)]
    documents += [("", text) for text in world.distractors]
    lines = [json.dumps({"id": n, "text": text}) for n, (_, text) in enumerate(documents)]
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox/documents.jsonl").write_text("\n".join(lines), encoding="utf-8")
    # The session's vectors, so that other tests' texts are not computed anew.
    shutil.copy(embedder._store._path, tmp_path / VECTORS)
    names = world.concepts[:3]
    config = config_of(
        [{"sandbox": True}],
        concept=None,
        concepts=[{"name": name, "kind": "person"} for name in names],
        target={"sandbox": {"world": 3}},
    )
    context = context_of(config, tmp_path, sandbox=tmp_path / "sandbox")
    stage.run(context)
    snippets = snippets_in(context)
    for name in names:
        assert {s.text for s in snippets if s.concept == name and not s.near_miss} == {
            text for subject, text in documents if subject == name
        }
    near = {s.document: s for s in snippets if s.near_miss}
    subjects = Counter(documents[int(document.removeprefix("sandbox:"))][0] for document in near)
    assert not set(subjects) & set(names)
    people = {entity.name for entity in world.people}
    assert len(set(subjects) & people) >= 0.9 * (len(people) - len(names))


def test_the_encoder_of_the_tests_is_the_official_one() -> None:
    assert find_encoder("auto").name == "sentence-transformers/all-MiniLM-L6-v2"
