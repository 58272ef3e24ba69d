"""What a model's folder may hold: weights in safetensors that its fingerprint covers, and settings that name no code.

The libraries that read a model import what some of its settings name, and take pickled weights where they find no
others. Both are refused here, before one of them looks into the folder.
"""

from __future__ import annotations

import contextlib
import json
import re
import reprlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from concept_forget.credentials import hide_keys
from concept_forget.errors import ConceptForgetError, ModelError
from concept_forget.out_of_memory import is_out_of_memory, too_little

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_WEIGHTS = "model.safetensors"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_INDEX = "*.safetensors.index.json"
# What the libraries read besides tokens and weights; other files of settings in a folder are nobody's.
_SETTINGS = (
    *("config.json", "config_sentence_transformers.json", "sentence_*_config.json"),
    *("generation_config.json", "tokenizer_config.json"),
)
_NO_PICKLES = "pickled weights can run code and are not read"
# Settings that lead to other files than those of the fingerprint, or to code that is fetched.
_LEADING_AWAY = frozenset(
    {"adapter_kwargs", "allow_all_kernels", "configuration_files", "gguf_file", "kernel_config"}
    | {"megatron_config", "tokenizer_name_or_path", "transformers_weights", "use_kernels"}
)
_ACTIVATION = re.compile(
    r"torch\.nn\.(modules\.(activation|linear)\.)?"
    r"(ELU|GELU|Identity|LeakyReLU|LogSoftmax|Mish|ReLU|SiLU|Sigmoid|Softmax|Softplus|Tanh)"
)
_MODULE = re.compile(
    r"sentence_transformers(\.\w+)*\."
    r"(CNN|Dense|Dropout|LSTM|LayerNorm|LogitScore|Normalize|Pooling|StaticEmbedding|Transformer|WeightedLayerPooling)"
)
# Those that can be merged into a model; the others read prompts and adapters from elsewhere.
_ADAPTERS = (
    *("ADALORA", "BOFT", "FOURIERFT", "HRA", "IA3", "LN_TUNING"),
    *("LOHA", "LOKR", "LORA", "OFT", "RANDLORA", "VBLORA", "VERA"),
)


def check_model(folder: Path, key: str | None = None) -> None:
    """Refuse a model, encoder or cross-encoder that is read otherwise than from safetensors, or that names code.

    Args:
        folder: The model's.
        key: The config key that names it, for messages.

    Raises:
        ModelError: It is; or a file of settings is none.
    """
    if not (folder / _WEIGHTS).is_file() and not (folder / f"{_WEIGHTS}.index.json").is_file():
        raise _no_weights(folder, key, _WEIGHTS)
    modules = _modules(folder, key)
    for module in modules:
        _refuse_pickles(module, key)
    for part in (folder, *modules):
        if (part / "adapter_config.json").exists():
            raise ModelError(
                f"{part} holds an adapter, which would be put on the model unasked",
                key=key,
                remedy="merge it, or take its files out and name it as `adapter`",
            )
        for index in sorted(part.glob(_INDEX)):
            _check_index(index, key)
        for pattern in _SETTINGS:
            for settings in sorted(part.glob(pattern)):
                _check_settings(settings, key)


def check_adapter(folder: Path, key: str | None = None) -> None:
    """Refuse an adapter that is not read from safetensors, or that is of a kind that reads other files too.

    Raises:
        ModelError: It is such a one.
    """
    if not (folder / _ADAPTER_WEIGHTS).is_file():
        raise _no_weights(folder, key, _ADAPTER_WEIGHTS)
    settings = folder / "adapter_config.json"
    _check_settings(settings, key)
    kind = _read_mapping(settings, key).get("peft_type")
    if kind not in _ADAPTERS:
        raise ModelError(
            f"an adapter of the kind {reprlib.repr(kind)} is not read{_named(key)}",
            file=settings,
            key="peft_type",
            remedy=f"give one that can be merged: {', '.join(_ADAPTERS)}",
        )


@contextlib.contextmanager
def reading(what: str, place: str, *, key: str | None = None, remedy: str = "check the folder") -> Iterator[None]:
    """Make one error of whatever a library raises over a model's files.

    Args:
        what: A word for the model, for the message.
        place: Its folder, likewise.
        key: The config key that names it.
        remedy: What to do.

    Raises:
        ModelError: The files cannot be read.
        OutOfMemoryError: Memory does not suffice.
    """
    try:
        yield
    except ConceptForgetError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise too_little(f"for the weights of {place}", "use a smaller model, or more memory") from error
        said = textwrap.shorten(hide_keys(f"{type(error).__name__}: {error}"), 400, placeholder=" …")
        raise ModelError(f"no {what} can be read from {place}: {said}", key=key, remedy=remedy) from error


def _no_weights(folder: Path, key: str | None, wanted: str) -> ModelError:
    others = sorted(file.name for pattern in (*_PICKLES, "*.safetensors") for file in folder.glob(pattern))
    found = f"only {', '.join(others[:3])}" if others else "no weights"
    return ModelError(f"{folder} holds {found}", key=key, remedy=f"give a folder with {wanted}; {_NO_PICKLES}")


def _modules(folder: Path, key: str | None) -> list[Path]:
    """The folders of an encoder's modules below its own."""
    file = folder / "modules.json"
    if not file.exists():
        return []
    modules = _read_json(file, key)
    found = []
    for number, module in enumerate(modules if isinstance(modules, list) else [modules]):
        kind, path = (module.get(name) if isinstance(module, dict) else None for name in ("type", "path"))
        if not isinstance(kind, str) or not _MODULE.fullmatch(kind):
            raise ModelError(
                f"a module of the kind {reprlib.repr(kind)} is not read{_named(key)}",
                file=file,
                key=f"{number}.type",
                remedy="name an encoder of sentence-transformers' own modules, such as Transformer, Pooling and Dense",
            )
        if not isinstance(path, str) or not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise ModelError(
                f"{reprlib.repr(path)} is no folder inside the model's{_named(key)}",
                file=file,
                key=f"{number}.path",
                remedy="keep the model in one folder",
            )
        if (folder / path).resolve() != folder.resolve():
            found.append(folder / path)
    return found


def _refuse_pickles(module: Path, key: str | None) -> None:
    for pattern in _PICKLES:
        for file in sorted(module.rglob(pattern)):
            if not (file.parent / _WEIGHTS).is_file():
                raise _no_weights(file.parent, key, _WEIGHTS)


def _check_index(index: Path, key: str | None) -> None:
    named = _read_mapping(index, key).get("weight_map")
    for weight, name in named.items() if isinstance(named, dict) else [("", named)]:
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\]+\.safetensors", name):
            raise ModelError(
                f"{reprlib.repr(name)} is no name of a *.safetensors beside it{_named(key)}",
                file=index,
                key=f"weight_map.{weight}",
                remedy=f"save the model anew, its weights in one folder; {_NO_PICKLES}",
            )


def _check_settings(file: Path, key: str | None) -> None:
    for name, value in _entries(_read_mapping(file, key)):
        told = value if isinstance(value, str) else ""
        if (
            (name.rpartition(".")[2] in _LEADING_AWAY and value)
            or ("activation" in name and told.startswith("torch.") and not _ACTIVATION.fullmatch(told))
            or ("implementation" in name and "/" in told)
        ):
            raise ModelError(
                f"{reprlib.repr(value)} would make code or files of others be read{_named(key)}",
                file=file,
                key=name,
                remedy="use a model that does without; an activation is a class such as torch.nn.Sigmoid",
            )


def _entries(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of nested settings with its dotted name."""
    waiting: list[tuple[str, Any]] = [("", settings)]
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}".lstrip("."), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(name, inner) for inner in value]


def _read_mapping(file: Path, key: str | None) -> dict[str, Any]:
    value = _read_json(file, key)
    if not isinstance(value, dict):
        raise ModelError(f"the file holds no mapping{_named(key)}", file=file, remedy="save the model anew")
    return value


def _read_json(file: Path, key: str | None) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the file cannot be read: {error}", file=file, key=key, remedy="save the model anew"
        ) from error


def _named(key: str | None) -> str:
    """The config key, where the message's own key is one of the file's."""
    return f" (the model of `{key}`)" if key else ""
