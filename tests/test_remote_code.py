"""Code that comes with a model is not run, whatever its files ask for, and no config can ask for it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from concept_forget.config_file import load_config
from concept_forget.embedding import find_encoder
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
    for kind in ("theirs.Theirs", "sentence_transformers.util.misc.importlib"):
        modules[0]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(ModelError, match=r"modules\.json: 0\.type: a module of the kind"):
            _ = SentenceEncoder(folder).model
    assert not (tmp_path / "ran").exists()


def changed(source: Path, folder: Path, name: str, **values: object) -> Path:
    """A copy of a model, one of whose files of settings holds these values too."""
    shutil.copytree(source, folder)
    path = folder / name
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings | values), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "its key": ("config.json", {"sentence_transformers": {"activation_fn": "torch.distributed.run.main"}}),
        "the old key": ("config.json", {"sbert_ce_default_activation_function": "torch.distributed.run.main"}),
        "a file": ("config_sentence_transformers.json", {"activation_fn": "torch.distributed.run.main"}),
    }.values(),
)
def test_an_activation_that_is_a_program_of_torch_is_not_called(
    name: str, values: dict[str, object], tmp_path: Path, tiny_reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``torch.distributed.run`` starts whatever the command line names."""
    folder = changed(tiny_reranker, tmp_path / "model", name, **values)
    if name != "config.json":  # which is read beside modules alone
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        types = {"model_type": "CrossEncoder", **values}
        (folder / name).write_text(json.dumps(types), encoding="utf-8")
    (tmp_path / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["run", "--standalone", str(tmp_path / "theirs.py")])
    with pytest.raises(
        ModelError, match=rf"{name}: [a-z_.]*activation\w*: 'torch\.distrib.* \(the model of `mine\.reranker`"
    ):
        load_cross_encoder(ModelSpec(str(folder)), "mine.reranker", "")
    assert not (tmp_path / "ran").exists()


def test_an_activation_of_an_encoder_is_not_imported(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = with_dense(tiny_encoder, tmp_path / "model", "torch.utils.bundled_inputs.bundle_inputs")
    with pytest.raises(ModelError, match=r"2_Dense/config\.json: activation_function: 'torch\.utils"):
        _ = SentenceEncoder(folder).model
    assert "torch.utils.bundled_inputs" not in sys.modules


@pytest.mark.parametrize("name", ["torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"])
def test_activations_of_everyday_are_used(name: str, tmp_path: Path, tiny_encoder: Path, tiny_reranker: Path) -> None:
    settings = {"sentence_transformers": {"activation_fn": name, "version": "5.0.0"}}
    reranker = changed(tiny_reranker, tmp_path / "reranker", "config.json", **settings)
    model = load_cross_encoder(ModelSpec(str(reranker)), "mine.reranker", "")
    assert type(model.activation_fn).__name__ == name.rpartition(".")[2]
    encoder = SentenceEncoder(with_dense(tiny_encoder, tmp_path / "encoder", name))
    assert encoder.encode(["Mira"]).shape == (1, 8)


def with_dense(source: Path, folder: Path, activation: str) -> Path:
    """A copy of an encoder with one more layer, whose weights lie in a folder of their own."""
    import torch
    from safetensors.torch import save_file

    sizes = {"in_features": 32, "out_features": 8, "bias": False}
    changed(source, folder, "2_Dense/config.json", **sizes, activation_function=activation)
    save_file({"linear.weight": torch.ones(8, 32)}, folder / "2_Dense" / "model.safetensors")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {"model_args": {"use_kernels": True}},
        {"model_kwargs": {"attn_implementation": "theirs/kernel"}},
        {"tokenizer_name_or_path": "theirs/tokenizer"},
    ],
)
def test_an_encoder_leads_to_nothing_of_others(values: dict[str, object], tmp_path: Path, tiny_encoder: Path) -> None:
    folder = changed(tiny_encoder, tmp_path / "model", "sentence_bert_config.json", **values)
    with pytest.raises(ModelError, match=r"sentence_bert_config\.json: .* \(the model of `mine\.embedder`\)"):
        find_encoder(str(folder))


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
