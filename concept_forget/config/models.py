"""Which models a run is about, and which one writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from concept_forget.config.section import Section


class SandboxModel(Section):
    """A tiny model taught on this machine: on a numbered world, or on a file of rows."""

    world: int | None = Field(None, ge=0, description="Number of the fictional world that the model is taught.")
    size: Literal["standard", "nano"] = Field("standard", description="Size of the world and of its model.")
    teach: Path | None = Field(None, description="JSON lines of question/answer or text rows to teach instead.")
    without: str | None = Field(
        None,
        description="Rows of `teach` that contain this text are left out; a world leaves out the concepts.",
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights and of the order of teaching.")

    @model_validator(mode="after")
    def _one_source(self) -> SandboxModel:
        if (self.world is None) == (self.teach is None):
            raise ValueError("give either `world: NUMBER` or `teach: FILE`")
        if self.without is not None and self.teach is None:
            raise ValueError("`without` goes with `teach`; a world leaves out the concepts by itself")
        return self


class ModelChoice(Section):
    """A model by path or hub id, or one from the sandbox."""

    model: str | None = Field(None, description="Folder or hub id of the model.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    adapter: str | None = Field(None, description="Folder or hub id of a peft adapter on top of it.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the weights.")
    sandbox: SandboxModel | None = Field(None, description="A tiny model taught here instead.")

    @model_validator(mode="after")
    def _one_source(self) -> ModelChoice:
        if (self.model is None) == (self.sandbox is None):
            raise ValueError("give either `model: PATH-OR-HUB-ID` or `sandbox: {world: NUMBER}`")
        return self


def _model_from_text(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


ModelField = Annotated[ModelChoice, BeforeValidator(_model_from_text)]


class GeneratorConfig(Section):
    """The language model that writes about the concept."""

    engine: Literal["transformers", "vllm", "openai", "target", "none"] = Field(
        "target",
        description="transformers, vllm: `model`, in this process or in vLLM; openai: `model` on the server at "
        "`base_url`; target: the model to be unlearned writes about itself; none: no generator.",
    )
    model: str | None = Field(None, description="Folder or hub id; for `engine: openai` its name on the server.")
    revision: str | None = Field(None, description="Branch, tag or commit on the hub.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Type of the weights.")
    prompts: str = Field("default", description="`default`, `compact`, or a folder of prompt files of your own.")
    temperature: float = Field(1.0, ge=0, le=5, description="Of everything that should vary; answers are greedy.")
    max_new_tokens: int = Field(512, ge=1, le=32768, description="Longest reply, in tokens.")
    batch_tokens: int = Field(16384, ge=16, description="Padded tokens a batch may hold on the transformers engine.")
    max_requests: int | None = Field(None, ge=1, description="Budget: requests at most; null: as many as are wanted.")
    max_tokens: int | None = Field(None, ge=1, description="Budget: tokens of prompts and replies together, at most.")
    base_url: str | None = Field(
        None, pattern=r"^https?://[^/@?#\s]+(/[^@?#\s]*)?$", description="openai: as in http://localhost:8000/v1."
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY", pattern=r"^[A-Za-z_]\w*$", description="openai: environment variable that holds the key."
    )
    concurrency: int = Field(32, ge=1, le=4096, description="openai: requests under way at once, at most.")
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="openai: longest wait for one reply.")
    attempts: int = Field(8, ge=1, le=100, description="openai: times a request is sent before it counts as failed.")
    structured: Literal["json_schema", "json_object", "none"] = Field(
        "json_schema", description="openai: the `response_format` that the server takes."
    )
    room: int = Field(4, ge=1, le=64, description="openai: times its limit that a reply may take when it is cut off.")
    tensor_parallel: int = Field(1, ge=1, le=64, description="vllm: accelerators that share the model.")
    memory_share: float = Field(0.9, gt=0, le=1, description="vllm: share of the accelerator's memory to use.")
    lora_rank: int = Field(0, ge=0, le=512, description="vllm: highest rank of adapters; 0: none, and it can score.")

    @model_validator(mode="after")
    def _model_when_needed(self) -> GeneratorConfig:
        if self.engine in ("target", "none"):
            if self.model is not None:
                raise ValueError(f"`model` goes with a generator of its own, not with `engine: {self.engine}`")
        elif self.model is None:
            raise ValueError(f"`engine: {self.engine}` needs `model: PATH-OR-HUB-ID`")
        if (self.engine == "openai") != (self.base_url is not None):
            raise ValueError("`base_url` goes with `engine: openai`, which needs it: as in http://localhost:8000/v1")
        if self.engine == "openai" and (self.revision is not None or self.dtype != "auto"):
            raise ValueError("`revision` and `dtype` are the server's own with `engine: openai`")
        return self
