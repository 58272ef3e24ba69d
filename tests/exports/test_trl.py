from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concept_forget.exports.exporting import export_sets
from concept_forget.exports.finished import SPLITS, FinishedSets

TRL = "ignore"
"""The trainers warn about themselves."""


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trl") / "out"
    export_sets(finished_run, "trl", out)
    return out


def load(exported: Path, tmp_path: Path, name: str) -> Any:
    import datasets

    return datasets.load_dataset(str(exported), name, cache_dir=str(tmp_path / "cache"))


def test_questions_and_texts_come_back_as_compose_wrote_them(
    exported: Path, sets: FinishedSets, tmp_path: Path
) -> None:
    asked, preferred = load(exported, tmp_path, "prompt-completion"), load(exported, tmp_path, "preference")
    texts = load(exported, tmp_path, "language-modeling")
    assert set(texts) == {"forget", "retain"}
    for split in SPLITS:
        questions = sets.questions(split)
        assert [row["prompt"] for row in asked[split]] == [row.prompt for row in questions]
        assert [row["completion"] for row in asked[split]] == [reply(row.completion) for row in questions]
        stays = split in ("retain", "collateral")
        for row, question in zip(preferred[split], questions, strict=True):
            known, refusal = reply(question.completion), reply(question.refusal)
            assert (row["prompt"], row["id"]) == (question.prompt, question.id)
            assert (row["chosen"], row["rejected"]) == ((known, refusal) if stays else (refusal, known))
        if split in texts:
            assert list(texts[split]["text"]) == [row.completion for row in sets.passages(split)]


def reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.filterwarnings(TRL)
@pytest.mark.parametrize("name", ["prompt-completion", "language-modeling"])
def test_sft_trains_on_it_for_two_steps(exported: Path, name: str, nano_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from trl import SFTConfig, SFTTrainer

    data = load(exported, tmp_path, name)["forget"]
    trainer = SFTTrainer(str(nano_model), SFTConfig(**_settings(tmp_path)), train_dataset=data)
    assert len(trainer.train_dataset) == len(data)
    assert trainer.train().global_step == 2


@pytest.mark.filterwarnings(TRL)
def test_dpo_trains_on_it_for_two_steps(exported: Path, nano_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from trl import DPOConfig, DPOTrainer

    data = load(exported, tmp_path, "preference")["forget"]
    trainer = DPOTrainer(str(nano_model), args=DPOConfig(**_settings(tmp_path)), train_dataset=data)
    assert len(trainer.train_dataset) == len(data)
    assert trainer.train().global_step == 2


def _settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trained"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
    }
