from __future__ import annotations

import pytest

from concept_forget.config import Config
from concept_forget.run_models import RunModels


def roles(judge: object) -> tuple[str, ...]:
    config = Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel"},
            "target": {"sandbox": {"world": 0, "size": "nano"}},
            "expand": {"judge": judge},
        }
    )
    return RunModels(config).roles


@pytest.mark.parametrize(
    ("judge", "has_model"),
    [
        (None, False),
        ({}, False),  # the generator judges
        ({"generator": {"engine": "transformers", "model": "m"}}, True),
        ({"generator": {"engine": "vllm", "model": "m"}}, True),
        ({"generator": {"engine": "target"}}, True),
        ({"generator": {"engine": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}}, False),
    ],
)
def test_a_judge_with_weights_of_its_own_is_a_model_of_the_run(judge: object, has_model: bool) -> None:
    assert ("judge" in roles(judge)) == has_model


def test_a_judge_that_is_the_target_knows_the_concepts() -> None:
    config = Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel"},
            "target": {"sandbox": {"world": 0, "size": "nano"}},
            "reference": {"sandbox": {"world": 0, "size": "nano"}},
            "expand": {"judge": {"generator": {"engine": "target"}}},
        }
    )
    models = RunModels(config)
    assert models.fingerprint("judge") == models.fingerprint("base") != models.fingerprint("reference")
