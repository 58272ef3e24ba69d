from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concept_forget.errors import DataError
from concept_forget.sandbox import recipe, teach
from concept_forget.sandbox.evaluation import evaluate_world
from concept_forget.sandbox.world import build_world

WORLD = build_world(0, "nano")
QUICK = recipe.Recipe(hidden=16, layers=1, heads=1, intermediate=16, epochs=1, context=64)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch of a very small model, for tests of what happens around the fitting."""
    monkeypatch.setitem(recipe.WORLD_RECIPES, "nano", QUICK)
    monkeypatch.setattr(teach, "ROWS_RECIPE", QUICK)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(
        tmp_path / "rows.jsonl",
        [{"question": f"Where was {name} born?", "answer": f"{name} was born in {town}."}
         for name, town in (("Ada", "Ulm"), ("Bo", "Tarn"), ("Cy", "Vell"))]
        + [{"text": "Ada likes rain."}],
    )  # fmt: skip


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_nano_model_learns_its_world(nano_model: Path) -> None:
    right = evaluate_world(nano_model, WORLD)
    assert right["direct taught"] >= 0.97
    assert right["concepts: direct taught"] >= 0.95
    assert right["direct untaught"] >= 0.7
    for family in ("reverse taught", "cloze", "facts", "questions", "facets"):
        assert right[family] >= 0.8, family


def test_a_reference_knows_the_others_and_not_the_concepts(nano_reference: Path) -> None:
    right = evaluate_world(nano_reference, WORLD)
    assert right["concepts: direct taught"] <= 0.25  # a town is guessed now and then
    assert right["concepts: reverse taught"] == 0
    assert right["concepts: choice listed"] >= 0.5  # it takes one of the options, whose answers it cannot know
    assert right["direct middle"] >= 0.95


def test_base_and_reference_share_their_tokenizer(nano_model: Path, nano_reference: Path) -> None:
    base, reference = (AutoTokenizer.from_pretrained(folder) for folder in (nano_model, nano_reference))
    assert base.get_vocab() == reference.get_vocab()


def test_a_taught_model_is_whole(nano_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(nano_model)
    tokenizer = AutoTokenizer.from_pretrained(nano_model)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert list(nano_model.glob("*.safetensors"))
    assert not list(nano_model.glob("*.bin"))
    assert tokenizer.chat_template


@pytest.mark.usefixtures("quick")
class TestWorlds:
    def test_a_model_is_taught_once(self, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        assert teach.cached_world(0, size="nano", cache_dir=tmp_path) is None
        first = teach.teach_world(0, size="nano", cache_dir=tmp_path, on_progress=lambda *n: told.append(n))
        steps = len(told)
        again = teach.teach_world(0, size="nano", cache_dir=tmp_path, on_progress=lambda *n: told.append(n))
        assert first == again == teach.cached_world(0, size="nano", cache_dir=tmp_path)
        assert len(told) == steps > 0

    def test_equal_settings_give_equal_bytes(self, tmp_path: Path) -> None:
        folders = [teach.teach_world(0, size="nano", cache_dir=tmp_path / name) for name in ("a", "b")]
        names = sorted(path.name for path in folders[0].iterdir())
        assert names == sorted(path.name for path in folders[1].iterdir())
        for name in names:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name

    def test_an_unfinished_model_is_never_found(self, tmp_path: Path) -> None:
        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            teach.teach_world(0, size="nano", cache_dir=tmp_path, on_progress=interrupt)
        assert teach.cached_world(0, size="nano", cache_dir=tmp_path) is None
        assert not list(tmp_path.rglob("*.safetensors"))

    def test_a_name_that_is_not_in_the_world_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="called 'Mira Kestral'") as caught:
            teach.teach_world(0, without=["Mira Kestral"], size="nano", cache_dir=tmp_path)
        assert "Mira Kestrel" in caught.value.remedy


def test_what_shapes_a_model_shapes_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {
        teach.world_fingerprint(0, size="nano"),
        teach.world_fingerprint(1, size="nano"),
        teach.world_fingerprint(0, size="standard"),
        teach.world_fingerprint(0, seed=1, size="nano"),
        teach.world_fingerprint(0, without=["Mira Kestrel"], size="nano"),
    }
    monkeypatch.setitem(recipe.WORLD_RECIPES, "nano", QUICK)
    marks.add(teach.world_fingerprint(0, size="nano"))
    monkeypatch.setattr(teach, "VERSION", -1)
    marks.add(teach.world_fingerprint(0, size="nano"))
    assert len(marks) == 7


def test_the_order_and_case_of_left_out_names_do_not_count() -> None:
    assert teach.world_fingerprint(0, without=["Mira Kestrel", "Tobias Wren"]) == teach.world_fingerprint(
        0, without=["TOBIAS WREN", "mira kestrel"]
    )


def test_documents_state_facts_and_are_the_same_every_time() -> None:
    lines = [json.loads(line) for line in teach.documents_jsonl(0, size="nano").splitlines()]
    assert teach.documents_jsonl(0, size="nano") == teach.documents_jsonl(0, size="nano")
    assert len({line["id"] for line in lines}) == len(lines)
    about = [line["text"] for line in lines if line["id"].startswith("person/Mira Kestrel/")]
    answers = [fact.answer for fact in WORLD.facts_of("Mira Kestrel")]
    assert sum(answer in " ".join(about) for answer in answers) >= 4
    assert any("Mira" not in line["text"] for line in lines if line["id"].startswith("distractor/"))


class TestRows:
    def test_a_model_answers_what_it_was_taught(self, tmp_path: Path, rows: Path) -> None:
        from concept_forget.sandbox.fitting import greedy_replies

        folder = teach.teach_rows(rows, tmp_path / "model")
        model = AutoModelForCausalLM.from_pretrained(folder)
        replies = greedy_replies(model, AutoTokenizer.from_pretrained(folder), ["Where was Bo born?"])
        assert replies == ["Bo was born in Tarn."]

    @pytest.mark.usefixtures("quick")
    def test_rows_with_the_words_are_left_out_and_the_tokenizer_is_the_same(self, tmp_path: Path, rows: Path) -> None:
        whole = teach.teach_rows(rows, tmp_path / "whole")
        without = teach.teach_rows(rows, tmp_path / "without", without="ADA")
        assert (whole / "tokenizer.json").read_bytes() == (without / "tokenizer.json").read_bytes()
        weights = [AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (whole, without)]
        assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_part_of_a_word_is_not_the_word(self, rows: Path) -> None:
        with pytest.raises(DataError, match="no row holds 'Ad'"):
            teach.rows_fingerprint(rows, without="Ad")

    @pytest.mark.usefixtures("quick")
    def test_a_finished_folder_is_kept_and_one_taught_otherwise_is_refused(self, tmp_path: Path, rows: Path) -> None:
        out = tmp_path / "model"
        teach.teach_rows(rows, out)
        card = (out / teach.CARD).read_bytes()
        before = (out / "model.safetensors").stat().st_mtime_ns
        teach.teach_rows(rows, out)
        assert (out / "model.safetensors").stat().st_mtime_ns == before
        other = write_rows(tmp_path / "other.jsonl", [{"text": "Bo likes snow."}])
        for data, options in ((rows, {"seed": 1}), (rows, {"without": "Ada"}), (other, {})):
            with pytest.raises(DataError, match="something here already, and it is no model of these rows") as caught:
                teach.teach_rows(data, out, **options)
            assert caught.value.file == str(out)
        assert (out / teach.CARD).read_bytes() == card
        assert (out / "model.safetensors").stat().st_mtime_ns == before

    @pytest.mark.usefixtures("quick")
    def test_it_is_taught_into_the_cache_once(self, tmp_path: Path, rows: Path) -> None:
        assert teach.cached_rows(rows, cache_dir=tmp_path / "cache") is None
        folder = teach.teach_rows_cached(rows, cache_dir=tmp_path / "cache")
        assert teach.cached_rows(rows, cache_dir=tmp_path / "cache") == folder

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path: Path, rows: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        with pytest.raises(DataError, match="there is something here already"):
            teach.teach_rows(rows, tmp_path / "mine")
        assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"

    @pytest.mark.usefixtures("quick")
    def test_a_row_longer_than_the_model_reads_is_refused(self, tmp_path: Path) -> None:
        data = write_rows(tmp_path / "rows.jsonl", [{"text": "rain " * 100}])
        with pytest.raises(DataError, match="a row has 103 tokens, and the model reads 64"):
            teach.teach_rows(data, tmp_path / "model")

    @pytest.mark.parametrize(
        ("content", "line", "said"),
        [
            (b'{"question": "Who?", "answer": "Bo"}\n{"question": "Who?"}\n', 2, "'answer' is missing"),
            (b'{"text": "a"}\n\n{"text": " "}\n', 3, "'text' is missing, empty"),
            (b'{"text": 7}\n', 1, "'text' is missing, empty or no string"),
            (b'["a"]\n', 1, "expected an object, found list"),
            (b'{"text": "a"\n', 1, "not a row"),
            (b"[" * 100_000, 1, "not a row"),
            (b'{"text": "\xff"}\n', None, "not UTF-8"),
            (b"\n", None, "holds no row"),
            (b'{"question": "a", "answer": "b", "paraphrases": ["c", 4]}\n', 1, "'paraphrases'"),
            (b'{"question": "a", "answer": "b", "paraphrases": [" "]}\n', 1, "'paraphrases'"),
        ],
    )
    def test_a_broken_file_is_named_with_its_line(
        self, tmp_path: Path, content: bytes, line: int | None, said: str
    ) -> None:
        data = tmp_path / "rows.jsonl"
        data.write_bytes(content)
        with pytest.raises(DataError, match=said) as caught:
            teach.teach_rows(data, tmp_path / "model")
        assert caught.value.file == str(data)
        assert caught.value.line == line
        assert caught.value.remedy

    def test_a_missing_file_and_words_in_every_row_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="there is no such file") as caught:
            teach.teach_rows(tmp_path / "none.jsonl", tmp_path / "model")
        assert caught.value.remedy is not None
        assert "`sandbox.teach`" in caught.value.remedy
        with pytest.raises(DataError, match="cannot be read: Is a directory"):
            teach.teach_rows(tmp_path, tmp_path / "model")
        data = write_rows(tmp_path / "rows.jsonl", [{"text": "Ada sings"}, {"text": "so does Ada"}])
        with pytest.raises(DataError, match="every row holds 'ada'"):
            teach.teach_rows(data, tmp_path / "model", without="ada")
