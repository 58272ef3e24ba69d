"""Where the work is done: in this process, or by workers on many machines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from concept_forget.config.section import Section


class ExecutionConfig(Section):
    """Where texts are encoded, the corpus is read, and models are asked. What comes of it is the same everywhere."""

    engine: Literal["process", "ray"] = Field(
        "process", description="`process`: in this process; `ray`: by workers of a Ray cluster."
    )
    address: str | None = Field(
        None,
        pattern=r"^(auto|[\w.\-]+:\d{1,5})$",
        description="ray: `auto`, the cluster that runs on this machine, or HOST:PORT of its head; null: one of the "
        "run's own, on this machine.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="ray: workers, each with an encoder or an engine; null: as many as there is room.",
    )
    num_cpus: float = Field(1, gt=0, le=1024, description="ray: processor cores that a worker takes.")
    num_gpus: float = Field(
        0,
        ge=0,
        le=64,
        description="ray: accelerators that a worker takes, or a share of one; 0: it computes on processors.",
    )

    @model_validator(mode="after")
    def _whole_accelerators(self) -> ExecutionConfig:
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ValueError("`num_gpus` is a share below 1, or a whole number")
        return self
