from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from concept_forget.errors import ModelError
from concept_forget.mine.reranking import Reranker, find_reranker

PAIRS = [
    ("Where was Mira born?", text)
    for text in ("Mira was born in Dunholm.", "The ship sails.", "a book by who?", "The town is called Dunholm, by the book.", "of")
] * 8  # fmt: skip


def test_a_pair_scores_what_the_model_says_of_it_alone(tiny_reranker: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_reranker)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_reranker).eval()
    with torch.no_grad():
        scores = [float(torch.sigmoid(model(**tokenizer(*pair, return_tensors="pt")).logits)) for pair in PAIRS]
    assert len({round(score, 4) for score in scores}) == 5
    assert Reranker(find_reranker(str(tiny_reranker))).score(PAIRS) == pytest.approx(scores, abs=1.1e-4)


def test_no_pairs_have_no_scores(tiny_reranker: Path) -> None:
    assert Reranker(find_reranker(str(tiny_reranker))).score([]) == []


def test_a_model_that_cannot_order_is_refused(tiny_reranker: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mine\.reranker: .*no folder with a model"):
        find_reranker(str(tmp_path / "absent" / "model"))
    broken = tmp_path / "broken"
    shutil.copytree(tiny_reranker, broken)
    (broken / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match=r"mine\.reranker: no cross-encoder can be read"):
        Reranker(find_reranker(str(broken))).score(PAIRS)
    several = tmp_path / "several"
    shutil.copytree(tiny_reranker, several)
    config = json.loads((several / "config.json").read_text(encoding="utf-8"))
    labels = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    (several / "config.json").write_text(json.dumps({**config, **labels}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"mine\.reranker: (.*gives 3 numbers|no cross-encoder can be read)"):
        Reranker(find_reranker(str(several))).score(PAIRS)
