from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concept_forget import run
from concept_forget.config import Config
from concept_forget.sandbox.world import build_world


@pytest.fixture(scope="package")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of a nano world in which most kinds of numbers occur."""
    return {
        "concepts": [{"name": name, "kind": "person"} for name in build_world(0, "nano").concepts],
        "target": {"sandbox": {"world": 0, "size": "nano"}},
        "reference": {"sandbox": {"world": 0, "size": "nano"}},
        "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 48},
        "corpus": [{"sandbox": True}],
        "expand": {"neighbours": {"near": 8, "middle": 4, "far": 3}},
        "compose": {"collateral": {"near": 2, "middle": 2, "far": 1}, "validation_neighbours": 2},
        "unlearn": {"learning_rate": 5e-4, "max_steps": 20, "eval_every": 10, "retain_weight": 2},
        "probe": {
            "attacks": ["quick", "sampling", "yes_no", "white_box"],
            "dose_response": True,
            "beside": ["rouge_l", "embedding"],
        },
        "output": str(tmp_path_factory.mktemp("evidence") / "runs" / "nano"),
    }


@pytest.fixture(scope="package")
def finished(values: dict[str, Any], nano_model: Path, nano_reference: Path) -> Path:
    """The folder of that run."""
    return run(Config.model_validate(values)).folder
