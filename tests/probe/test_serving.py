"""One engine for a model and the adapters on it: the real vLLM, where it can be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import ProbeConfig
from concept_forget.engines.opening import adapter_rank, open_shared
from concept_forget.engines.versions import engine_problem
from concept_forget.errors import ModelError
from concept_forget.models import load_model
from concept_forget.probe.asking import Planned, ask_models, plan_questions
from concept_forget.probe.attacks import attacks_named
from concept_forget.probe.serving import Shared, share_engines
from concept_forget.records import Attempt, ModelSpec
from concept_forget.sandbox.world import build_world
from concept_forget.workspace import Costs
from tests.probe.test_stage import rows_about

PLAIN, VLLM = ProbeConfig(max_new_tokens=16), ProbeConfig(max_new_tokens=16, engine="vllm")
BASE = ModelSpec("base", fingerprint="b")
ADAPTED = ModelSpec("base", adapter="folder", fingerprint="u")
OTHER = ModelSpec("other", fingerprint="r")


def test_vllm_serves_adapters_with_their_model_and_equal_models_are_one_anywhere() -> None:
    models = {"base": BASE, "unlearned": ADAPTED, "reference": OTHER, "strangers": BASE}
    assert share_engines(models, VLLM) == [
        Shared(BASE, {"base": None, "unlearned": "u", "strangers": None}),
        Shared(OTHER, {"reference": None}),
    ]
    assert share_engines(models, PLAIN) == [
        Shared(BASE, {"base": None, "strangers": None}),
        Shared(ADAPTED, {"unlearned": None}),
        Shared(OTHER, {"reference": None}),
    ]
    assert share_engines({"unlearned": ADAPTED}, VLLM) == [Shared(ADAPTED, {"unlearned": None})]
    unnamed = {"base": ModelSpec("base"), "unlearned": ModelSpec("base", adapter="folder")}
    assert share_engines(unnamed, VLLM) == [Shared(ModelSpec("base"), {"base": None, "unlearned": "folder"})]
    half = ModelSpec("base", dtype="bfloat16", adapter="folder", fingerprint="u")
    assert len(share_engines({"base": BASE, "unlearned": half}, VLLM)) == 2


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(**values: Any) -> Path:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, **values}))
        return tmp_path

    return save


def test_the_rank_is_read_and_what_vllm_cannot_put_on_is_refused(saved: Callable[..., Path], tmp_path: Path) -> None:
    assert adapter_rank(saved()) == 8
    assert adapter_rank(saved(rank_pattern={"q_proj": 32, "v_proj": 4})) == 32
    for values, named in (
        ({"use_dora": True}, "of kind DoRA"),
        ({"peft_type": "LOHA"}, "of kind LOHA"),
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"bias": "all"}, "biases"),
    ):
        with pytest.raises(ModelError, match=rf"adapter_config.json[\s\S]*{named}[\s\S]*unlearn.merge"):
            adapter_rank(saved(**values))
    with pytest.raises(ModelError, match="no adapter can be read"):
        adapter_rank(tmp_path / "gone")


needs_vllm = pytest.mark.skipif(bool(engine_problem("vllm")), reason=f"vLLM cannot be used: {engine_problem('vllm')}")


@pytest.fixture
def adapter(nano_model: Path, tmp_path: Path) -> Path:
    """An adapter on the lower layers that was never trained, and changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    shape = LoraConfig(
        r=4, lora_alpha=32, target_modules=["q_proj", "down_proj"], layers_to_transform=[0], init_lora_weights=False
    )
    folder = tmp_path / "adapter"
    get_peft_model(load_model(ModelSpec(str(nano_model))), shape).save_pretrained(folder)
    return folder


@needs_vllm
@pytest.mark.vllm
def test_base_and_adapter_are_asked_in_one_vllm_and_reply_as_in_transformers(
    nano_model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concept_forget.engines import vllm_engine

    base = ModelSpec(str(nano_model), dtype="float32", fingerprint="base")
    adapted = ModelSpec(str(nano_model), dtype="float32", adapter=str(adapter), fingerprint="adapted")
    models = {"base": base, "unlearned": adapted}
    attacks = attacks_named(("direct", "persistence", "prefix_injection"))
    rows = [row for row in rows_about(build_world(0, "nano")) if row.family == "direct"]
    planned: dict[str, list[Planned]] = dict.fromkeys(models, plan_questions(attacks, rows, [], 0))
    started: list[object] = []
    begin = vllm_engine._Process.__init__
    monkeypatch.setattr(
        vllm_engine._Process, "__init__", lambda self, start: (started.append(start), begin(self, start))[1]
    )

    def asked(settings: ProbeConfig, name: str) -> list[Attempt]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "attempts.jsonl").unlink(missing_ok=True)
        return ask_models(models, planned, settings, folder, cache=tmp_path / f"{name}.sqlite", costs=Costs())

    served, local = asked(VLLM, "vllm"), asked(PLAIN, "transformers")
    assert len(started) == 1
    assert [(one.model, one.attack, one.example) for one in served] == [
        (one.model, one.attack, one.example) for one in local
    ]
    same = sum(one.reply == other.reply for one, other in zip(served, local, strict=True))
    assert same >= 0.95 * len(local)  # ties within rounding
    half = len(served) // 2
    changed = [one.reply != other.reply for one, other in zip(served[:half], served[half:], strict=True)]
    assert sum(changed) > half / 2
    turns = [one for one in served[half:] if one.attack == "persistence"]
    firsts = {one.example: one.reply for one in served[half:] if one.attack == "direct"}
    assert all(one.prompt[1]["content"] == firsts[one.example] for one in turns)  # the adapter's own first turn
    assert asked(VLLM, "vllm") == served
    assert len(started) == 1  # all of it was kept, the adapter's replies apart from the model's


@needs_vllm
def test_an_adapter_that_vllm_does_not_take_is_refused_before_it_starts(
    saved: Callable[..., Path], nano_model: Path, tmp_path: Path
) -> None:
    spec = ModelSpec(str(nano_model), fingerprint="base")
    with pytest.raises(ModelError, match="DoRA"):
        open_shared(spec, {"u": str(saved(use_dora=True))}, VLLM, cache=tmp_path / "c.sqlite", costs=Costs())
