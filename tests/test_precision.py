from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from concept_forget import precision
from concept_forget.embedding import Embedder, find_encoder
from concept_forget.precision import FILE, Trial, choose_precision, faster, machine, recorded_precision, try_both
from concept_forget.workspace import write_json


def test_what_the_config_names_is_not_tried(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = find_encoder(str(tiny_encoder))
    assert choose_precision(encoder, "bfloat16", tmp_path, tmp_path / "cache") == ("bfloat16", None)
    assert list(tmp_path.iterdir()) == []


def test_the_trial_measures_both_and_chooses_the_one_that_its_numbers_say(tiny_encoder: Path) -> None:
    trial = try_both(tiny_encoder, seconds=0.05)
    assert trial.float32_rate > 0
    assert trial.bfloat16_rate > 0
    assert 0.99 < trial.cosine <= 1
    assert 0 < trial.share <= 1
    assert trial.precision == faster(trial.float32_rate, trial.bfloat16_rate, trial.cosine)


def test_bfloat16_has_to_gain_and_to_change_next_to_nothing() -> None:
    assert faster(100, 240, 0.99998) == "bfloat16"
    assert faster(100, 105, 0.99998) == "float32"
    assert faster(100, 60, 1.0) == "float32"
    assert faster(100, 240, 0.99) == "float32"


def test_an_outcome_is_kept_for_machine_and_encoder_and_never_tried_again(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, cache, tried = find_encoder(str(tiny_encoder)), tmp_path / "cache", []

    def once(folder: Path) -> Trial:
        tried.append(folder)
        return Trial("bfloat16", 10.0, 24.0, 0.99998)

    monkeypatch.setattr(precision, "try_both", once)
    first = choose_precision(encoder, None, tmp_path / "first", cache)
    assert first[0] == "bfloat16"
    assert first[1] is not None
    assert first[1]["encoder"] == encoder.name
    assert first[1]["bfloat16_rate"] == 24.0
    assert choose_precision(encoder, None, tmp_path / "second", cache) == first
    assert tried == [tiny_encoder]
    # Another machine has a trial of its own, but not for a stage that was begun here.
    monkeypatch.setattr(precision, "machine", lambda: {"processor": "another"})
    monkeypatch.setattr(precision, "try_both", lambda folder: Trial("float32", 24.0, 10.0, 0.99998))
    assert choose_precision(encoder, None, tmp_path / "first", cache) == first
    assert choose_precision(encoder, None, tmp_path / "third", cache)[0] == "float32"
    assert choose_precision(encoder, None, tmp_path / "first", tmp_path / "no cache any more") == first


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors can be taken away on Linux alone")
def test_what_was_found_without_the_processors_is_kept_for_the_stage_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder, cache = find_encoder(str(tiny_encoder)), tmp_path / "cache"
    processors, threads = os.sched_getaffinity(0), torch.get_num_threads()
    try:
        os.sched_setaffinity(0, {min(processors)})
        torch.set_num_threads(4)  # on one processor: none has more than a quarter of the time
        first = choose_precision(encoder, None, tmp_path / "first", cache)
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, processors)
    assert first[1] is not None
    assert first[1]["share"] < 0.5
    assert not cache.exists()
    assert choose_precision(encoder, None, tmp_path / "first", cache) == first


def test_the_machine_is_described_without_its_name() -> None:
    found = machine()
    assert found["processor"]
    assert set(found) == {"processor", "accelerator", "processors", "threads", "torch"}
    json.dumps(found)


def test_vectors_are_kept_apart_by_precision(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = find_encoder(str(tiny_encoder))
    plain = Embedder(encoder, tmp_path / "vectors.sqlite")
    cast = Embedder(encoder, tmp_path / "vectors.sqlite", precision="bfloat16")
    first = plain.encode(["The ship is called Tern."])
    assert cast.encode(["The ship is called Tern."]).tobytes() != first.tobytes()
    assert cast.flops > 0
    again = Embedder(encoder, tmp_path / "vectors.sqlite", precision="bfloat16")
    again.encode(["The ship is called Tern."])
    assert again.flops == 0


@pytest.mark.parametrize("summary", [{"precision": {"precision": "bfloat16"}}, {"note": "no corpus"}])
def test_what_a_stage_encoded_in_is_read_from_its_summary(summary: dict[str, Any], tmp_path: Path) -> None:
    assert recorded_precision(None) is None
    assert recorded_precision(tmp_path) is None
    write_json(tmp_path / "summary.json", summary)
    assert recorded_precision(tmp_path) == summary.get("precision")
    assert FILE == "precision.json"
