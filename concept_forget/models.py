"""From what a config says about a model to its weights and tokenizer on this machine.

Only safetensors are read, and no code that comes with a model is ever run.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

from concept_forget.config import ModelChoice
from concept_forget.errors import ModelError
from concept_forget.model_files import check_adapter, check_model, reading
from concept_forget.records import ModelSpec, content_hash
from concept_forget.workspace import file_hash

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

LOADING = threading.RLock()
"""Held while a model is loaded, and while another thread computes with one: loading changes what all of torch goes by,
such as its default type."""

_READ = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
"""What is fetched of a model, and what its fingerprint covers."""


def resolve_model(choice: ModelChoice, key: str) -> ModelSpec:
    """Find a model by folder or hub id and pin it: by a hash of its files, or by the hub's commit.

    Args:
        choice: What the config says; not a sandbox model.
        key: The config key, for the error message.

    Raises:
        ModelError: It is absent, has no safetensors, or the hub does not answer.
    """
    assert choice.model is not None
    path, mark = _locate(choice.model, choice.revision, key)
    check_model(path, key)
    adapter, adapter_mark = (None, "")
    if choice.adapter is not None:
        adapter_path, adapter_mark = _locate(choice.adapter, None, f"{key}.adapter")
        check_adapter(adapter_path, f"{key}.adapter")
        adapter = str(adapter_path)
    return ModelSpec(
        path=str(path),
        revision=choice.revision,
        dtype=choice.dtype,
        adapter=adapter,
        fingerprint=content_hash("model", mark, choice.dtype, adapter_mark),
    )


def _locate(name: str, revision: str | None, key: str) -> tuple[Path, str]:
    folder = Path(name).expanduser()
    if folder.is_dir():
        files = sorted(file for pattern in _READ for file in folder.glob(pattern))
        return folder.resolve(), content_hash(*([file.name, file_hash(file)] for file in files))
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"{name!r} is no folder with a model", key=key, remedy="give the folder that holds config.json"
        )
    return _from_hub(name, revision, key)


def _from_hub(name: str, revision: str | None, key: str) -> tuple[Path, str]:
    """Download, or find in the local cache, a model's safetensors and small files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(_READ)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"the model {name!r} is neither a folder here nor to be had from the hub ({type(error).__name__})",
            key=key,
            remedy="check the spelling and the connection, or give the path of a local folder",
        ) from error
    return folder, folder.name


def load_config(spec: ModelSpec) -> PretrainedConfig:
    """What the model's config.json says of its text part.

    Raises:
        ModelError: The folder holds none that can be read.
    """
    from transformers import AutoConfig

    check_model(Path(spec.path))
    with reading("model", spec.path):
        config = AutoConfig.from_pretrained(spec.path, revision=spec.revision, trust_remote_code=False)
        text: PretrainedConfig = config.get_text_config()
    return text


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a padding token.

    Raises:
        ModelError: The folder holds none that can be read.
    """
    from transformers import AutoTokenizer

    with reading("tokenizer", spec.path, remedy="save it with the model"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            spec.path, revision=spec.revision, trust_remote_code=False
        )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(spec: ModelSpec, *, stay_in_memory: bool = False) -> PreTrainedModel:
    """The model in evaluation mode, an adapter merged into it, on the accelerator where there is one.

    Args:
        spec: What to load. ``dtype`` auto: the type of the saved weights on an accelerator, float32 on a processor.
        stay_in_memory: Leave it in the machine's own memory, for the caller to put it on the accelerator in parts.

    Raises:
        ModelError: The folder holds none that can be read.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the program shows its own

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    dtype: object = spec.dtype
    if spec.dtype == "auto" and device.type == "cpu":
        dtype = "float32"
    check_model(Path(spec.path))
    with LOADING, reading("model", spec.path):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            spec.path, revision=spec.revision, dtype=dtype, trust_remote_code=False, use_safetensors=True
        )
    if spec.adapter is not None:
        from peft import PeftModel

        check_adapter(Path(spec.adapter))
        with LOADING, reading("adapter", spec.adapter):
            merged: object = PeftModel.from_pretrained(model, spec.adapter).merge_and_unload()
        model = cast("PreTrainedModel", merged)
    if not stay_in_memory:
        torch.nn.Module.to(model, device)
    model.eval()
    return model
