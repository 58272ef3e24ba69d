"""Code that comes with a model is not run, whatever its files ask for, and no config can ask for it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from concept_forget.config_file import load_config
from concept_forget.errors import ConfigError, ModelError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import ModelSpec
from concept_forget.sentence_encoder import SentenceEncoder, load_cross_encoder

PACKAGE = Path(__file__).parents[1] / "concept_forget"


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A causal model of one layer with random weights, and a tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("chat")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(folder)
    return folder


def with_code(source: Path, folder: Path) -> Path:
    """A copy of a model whose files name code that lies beside them, and that would leave a file where it ran."""
    shutil.copytree(source, folder)
    mark = folder.with_name("ran")
    (folder / "theirs.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Theirs: pass\n", encoding="utf-8")
    parts = ("Config", "Model", "ModelForCausalLM", "ModelForSequenceClassification", "Tokenizer")
    named = {f"Auto{part}": ["theirs.Theirs"] * 2 if part == "Tokenizer" else "theirs.Theirs" for part in parts}
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((folder / name).read_text())
        values |= {"auto_map": named, "trust_remote_code": True}
        if name == "config.json":
            values |= {"model_type": "theirs"}  # which only their code knows
        else:
            values |= {"tokenizer_class": "Theirs"}
        (folder / name).write_text(json.dumps(values))
    return folder


LOADERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model": ("chat_model", lambda folder: load_model(ModelSpec(str(folder)))),
    "tokenizer": ("chat_model", lambda folder: load_tokenizer(ModelSpec(str(folder)))),
    "encoder": ("tiny_encoder", lambda folder: SentenceEncoder(folder).model),
    "cross-encoder": ("tiny_reranker", lambda folder: load_cross_encoder(ModelSpec(str(folder)), "mine.reranker", "")),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_code_beside_a_model_is_not_run(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fixture, load = LOADERS[kind]
    source: Path = request.getfixturevalue(fixture)
    load(source)
    with contextlib.suppress(ModelError):  # a tokenizer whose class is unknown is read as a plain one
        load(with_code(source, tmp_path / "model"))
    assert not (tmp_path / "ran").exists()


def test_a_module_of_an_encoder_comes_from_its_library(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = with_code(tiny_encoder, tmp_path / "model")
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "theirs.Theirs"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError):
        _ = SentenceEncoder(folder).model
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("section", ["target", "reference", "generator", "mine", "probe", "execution"])
def test_no_config_can_ask_for_it(section: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("concept: A\ntarget: {model: m}\n", encoding="utf-8")
    name = f"{section}.trust_remote_code"
    with pytest.raises(ConfigError) as caught:
        load_config(path, [f"{name}=true"])
    assert "trust_remote_code" in str(caught.value)


def test_every_place_that_loads_says_no() -> None:
    """A model, a tokenizer or its settings, from a folder that the user names."""
    calls = {
        f"{path.relative_to(PACKAGE)}: {call.group(0)}": path.read_text(encoding="utf-8")[call.start() :][:400]
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "sandbox"  # what the program taught itself
        for call in re.finditer(
            r"Auto\w+\.from_pretrained\(|SentenceTransformer\(\n|= CrossEncoder\(\n|return LLM\(\n",
            path.read_text(encoding="utf-8"),
        )
    }
    assert len(calls) >= 6
    assert [call for call, text in calls.items() if "trust_remote_code=False" not in text] == []
    assert not any("trust_remote_code=True" in path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
