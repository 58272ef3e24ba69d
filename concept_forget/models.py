"""From what a config says about a model to its weights and tokenizer on this machine.

Only safetensors are read, and no code that comes with a model is ever run.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

from concept_forget.config import ModelChoice
from concept_forget.errors import ModelError
from concept_forget.out_of_memory import is_out_of_memory, too_little
from concept_forget.records import ModelSpec, content_hash
from concept_forget.workspace import file_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOADING = threading.RLock()
"""Held while a model is loaded, and while another thread computes with one: loading changes what all of torch goes by,
such as its default type."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


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
    adapter, adapter_mark = (None, "")
    if choice.adapter is not None:
        adapter_path, adapter_mark = _locate(choice.adapter, None, f"{key}.adapter")
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
        _refuse_pickles(folder, key)
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.jinja")])
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

    patterns = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"the model {name!r} is neither a folder here nor to be had from the hub ({type(error).__name__})",
            key=key,
            remedy="check the spelling and the connection, or give the path of a local folder",
        ) from error
    _refuse_pickles(folder, key)
    return folder, folder.name


def _refuse_pickles(folder: Path, key: str) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    found = f"only {', '.join(pickled[:3])}" if pickled else "no weights"
    raise ModelError(
        f"{folder} holds {found}",
        key=key,
        remedy="give a folder with *.safetensors; pickled weights can run code and are not read",
    )


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a padding token.

    Raises:
        ModelError: The folder holds none that can be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.path, revision=spec.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no tokenizer can be read from {spec.path}: {error}", remedy="save it with the model"
        ) from error
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
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the program shows its own

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    dtype: object = spec.dtype
    if spec.dtype == "auto" and device.type == "cpu":
        dtype = "float32"
    try:
        with LOADING:
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                spec.path, revision=spec.revision, dtype=dtype, trust_remote_code=False, use_safetensors=True
            )
            if spec.adapter is not None:
                from peft import PeftModel

                merged: object = PeftModel.from_pretrained(model, spec.adapter).merge_and_unload()
                model = cast("PreTrainedModel", merged)
    except (OSError, ValueError, RuntimeError, MemoryError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise too_little(f"for the weights of {spec.path}", "use a smaller model, or more memory") from error
        raise ModelError(f"no model can be read from {spec.path}: {error}", remedy="check the folder") from error
    if not stay_in_memory:
        torch.nn.Module.to(model, device)
    model.eval()
    return model
