"""Where a config says that the work is done, and what it may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from concept_forget import load_config
from concept_forget.config import Config, ExecutionConfig
from concept_forget.workspace import data_folder


def config(execution: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({"concept": {"name": "Mira"}, "target": "m", "execution": execution, **sections})


def test_this_process_does_the_work_unless_a_cluster_is_asked_for() -> None:
    assert config({}).execution == ExecutionConfig(engine="process")
    assert config({"engine": "ray", "address": "head-1.example:6379", "num_gpus": 0.5}).execution.address is not None


@pytest.mark.parametrize(
    "execution",
    [
        {"engine": "dask"},
        {"engine": "ray", "address": "ray://head:10001"},  # Ray Data does not go through its client
        {"engine": "ray", "address": "head"},
        {"engine": "ray", "workers": 0},
        {"engine": "ray", "num_cpus": 0},
        {"engine": "ray", "num_gpus": 1.5},
    ],
)
def test_what_ray_would_not_take_is_refused(execution: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(execution)


def test_a_model_on_several_accelerators_needs_as_many_in_a_worker() -> None:
    vllm = {"engine": "vllm", "model": "m", "tensor_parallel": 4}
    with pytest.raises(ValidationError, match=r"execution\.num_gpus: 4"):
        config({"engine": "ray", "num_gpus": 1}, generator=vllm)
    with pytest.raises(ValidationError, match=r"probe\.tensor_parallel: 2"):
        config({"engine": "ray", "num_gpus": 1}, probe={"engine": "vllm", "tensor_parallel": 2})
    assert config({"engine": "ray", "num_gpus": 4}, generator=vllm)
    assert config({"engine": "ray", "num_gpus": 0.5}, probe={"engine": "vllm"})  # a share of one, for one
    assert config({"engine": "process", "num_gpus": 1}, generator=vllm)


def test_the_packaged_config_for_a_cluster_is_one() -> None:
    loaded = load_config(data_folder("pipelines") / "ray-cluster.yaml")
    assert loaded.execution == ExecutionConfig(engine="ray", address="auto", workers=8, num_cpus=8, num_gpus=2)
    assert loaded.output == Path("shared/runs/mira-kestrel")
