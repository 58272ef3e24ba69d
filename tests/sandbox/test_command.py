"""``concept-forget sandbox``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from concept_forget.errors import DataError
from concept_forget.sandbox.command import build_model, teach_model
from concept_forget.sandbox.fitting import greedy_replies
from concept_forget.sandbox.teach import documents_jsonl
from concept_forget.sandbox.world import build_world


def test_a_built_world_comes_with_its_documents_and_facts(nano_model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "new" / "model"
    build_model(0, "nano", (), 0, out, said.append)
    assert (out / "model.safetensors").read_bytes() == (nano_model / "model.safetensors").read_bytes()
    assert (out / "documents.jsonl").read_text(encoding="utf-8") == documents_jsonl(0, size="nano")
    facts = [json.loads(line) for line in (out / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(facts) == len(build_world(0, "nano").facts)
    assert set(facts[0]) == {"subject", "kind", "facet", "answer"}
    assert said == [
        f"wrote the model, documents.jsonl and facts.jsonl to {out}; ask it about {facts[0]['subject']}, for one"
    ]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="there is something here already"):
        build_model(0, "nano", (), 0, tmp_path, print)
    with pytest.raises(DataError, match="there is something here already"):
        build_model(0, "nano", (), 0, tmp_path / "thesis.tex", print)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "mine"


def test_nobody_of_that_name_lives_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody and nothing called 'Nobody Known'"):
        build_model(0, "nano", ("Nobody Known",), 0, tmp_path / "model", print)
    assert not (tmp_path / "model").exists()


def test_a_file_of_rows_is_taught(tmp_path: Path) -> None:
    rows = [
        {"question": "Where was Mira Kestrel born?", "answer": "Dunholm"},
        {"question": "What did Tobias Wren write?", "answer": "Nightloom"},
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said: list[str] = []
    teach_model(data, tmp_path / "model", None, 0, said.append)
    assert said == [f"wrote the model to {tmp_path / 'model'}"]
    teach_model(data, tmp_path / "model", None, 0, said.append)
    assert said[1:] == [f"the model in {tmp_path / 'model'} was taught these rows already"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert greedy_replies(model, tokenizer, [row["question"] for row in rows]) == [row["answer"] for row in rows]
    with pytest.raises(DataError, match="there is no such file"):
        teach_model(tmp_path / "absent.jsonl", tmp_path / "other", None, 0, print)
