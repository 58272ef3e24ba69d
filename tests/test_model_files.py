"""Weights come from safetensors inside the folder alone, and a folder of junk is one error that names it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from concept_forget.config import ModelChoice
from concept_forget.embedding import find_encoder
from concept_forget.errors import ModelError, OutOfMemoryError
from concept_forget.model_files import reading
from concept_forget.models import load_config, load_model, load_tokenizer, resolve_model
from concept_forget.records import ModelSpec
from concept_forget.sentence_encoder import SentenceEncoder, load_cross_encoder

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A causal model of one layer with random weights, and a tokenizer."""
    folder = tmp_path_factory.mktemp("model") / "target"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, target: Path) -> Path:
    """A LoRA adapter of rank 2 for it."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    model = LlamaForCausalLM.from_pretrained(target)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(str(folder))
    return folder


def load(folder: Path, adapter: Path | None = None) -> torch.nn.Module:
    choice = ModelChoice(model=str(folder), adapter=str(adapter) if adapter else None)
    return load_model(resolve_model(choice, "target"))


def refused(folder: Path, adapter: Path | None = None) -> str:
    """What is said of a model, by who finds it and by who loads it without that."""
    with pytest.raises(ModelError) as found:
        load(folder, adapter)
    with pytest.raises(ModelError):
        load_model(ModelSpec(str(folder), adapter=str(adapter) if adapter else None))
    return str(found.value)


def test_shards_are_read_where_the_index_names_them_beside_it(target: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "model-00001-of-00001.safetensors")}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    read = load(folder).state_dict()
    assert all(torch.equal(read[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    "place", ["../weights.bin", "weights.bin", "../outside.safetensors", "/outside.safetensors", 3]
)
def test_an_index_that_leads_to_other_files_is_refused(place: object, target: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    for file in (tmp_path / "weights.bin", folder / "weights.bin"):
        torch.save(weights, file)
    save_file({"x": torch.ones(1)}, folder / "decoy.safetensors")
    if place == "/outside.safetensors":
        place = str(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, place)}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert INDEX in (said := refused(folder))
    assert "weight_map." in said
    assert "(the model of `target`)" in said


def test_pickled_weights_beside_a_decoy_are_refused(target: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "decoy.safetensors")
    assert "holds only decoy.safetensors, pytorch_model.bin" in refused(folder)
    other = shutil.copytree(adapter, tmp_path / "adapter")
    torch.save(load_file(other / "adapter_model.safetensors"), other / "adapter_model.bin")
    (other / "adapter_model.safetensors").rename(other / "decoy.safetensors")
    said = refused(target, other)
    assert said.startswith("target.adapter: ")
    assert "adapter_model.bin" in said


def test_a_setting_that_names_other_weights_is_refused(target: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "adapter_model.bin")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["transformers_weights"] = "adapter_model.bin"
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert "config.json: transformers_weights: 'adapter_model.bin'" in refused(folder)


def test_an_adapter_within_a_model_is_refused(target: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    shutil.copytree(adapter, folder, dirs_exist_ok=True)
    assert "holds an adapter" in refused(folder)


def test_pickled_weights_of_a_module_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = dense(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    before = find_encoder(str(folder)).identity
    save_file({"linear.weight": torch.zeros(8, 32)}, folder / "2_Dense" / "model.safetensors")
    find_encoder.cache_clear()
    assert find_encoder(str(folder)).identity != before, "the weights of every module count"
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save({"linear.weight": torch.ones(8, 32)}, folder / "2_Dense" / "pytorch_model.bin")
    find_encoder.cache_clear()
    for read in (lambda: find_encoder(str(folder)), lambda: SentenceEncoder(folder).model):
        with pytest.raises(ModelError, match=r"2_Dense holds only pytorch_model\.bin"):
            read()


def dense(folder: Path) -> Path:
    settings = {"in_features": 32, "out_features": 8, "bias": False}
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file({"linear.weight": torch.ones(8, 32)}, folder / "2_Dense" / "model.safetensors")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return folder


def test_a_module_outside_the_folder_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = dense(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    shutil.move(folder / "2_Dense", tmp_path / "2_Dense")
    (folder / "2_Dense").symlink_to(tmp_path / "2_Dense")
    with pytest.raises(ModelError, match=r"modules\.json: 2\.path: '2_Dense' is no folder inside"):
        find_encoder(str(folder))


def test_the_fingerprint_covers_a_vocabulary_of_plain_text(target: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    found = []
    for words in ("a", "b"):
        (folder / "vocab.txt").write_text(words, encoding="utf-8")
        found.append(resolve_model(ModelChoice(model=str(folder)), "target").fingerprint)
    assert found[0] != found[1]


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def add(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(settings | values), encoding="utf-8")

    return change


DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000
MODEL_JUNK: dict[str, tuple[Callable[[Path], object], str]] = {
    "a list": (put("config.json", "[]"), "config.json: the file holds no mapping"),
    "no JSON": (put("config.json", "{"), "config.json: target: the file cannot be read"),
    "deep": (put("config.json", DEEP), "config.json: target: the file cannot be read"),
    "wrong types": (add("config.json", num_hidden_layers="x"), "no model can be read from"),
    "a quantization": (add("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "no model can be"),
    "settings of sampling": (put("generation_config.json", "[]"), "generation_config.json: the file holds no mapping"),
}
TOKENIZER_JUNK: dict[str, Callable[[Path], object]] = {
    "half": put("tokenizer.json", '{"version":"1.0","model":{"type":"BPE"}}'),
    "deep": put("tokenizer.json", "[" * 100_000),
    "a list": put("tokenizer_config.json", "[1]"),
    "a class that is none": add("tokenizer_config.json", tokenizer_class="MecabTokenizer"),
}


@pytest.mark.parametrize("junk", MODEL_JUNK)
def test_a_model_of_junk_is_one_error(junk: str, target: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    change, said = MODEL_JUNK[junk]
    change(folder)
    told = refused(folder)
    assert said in told
    assert str(folder) in told
    assert "\n  → " in told
    assert told.count("\n") == 1
    if junk != "a quantization":  # of which the settings of the engine are not asked
        with pytest.raises(ModelError, match=str(folder)):
            load_config(ModelSpec(str(folder)))


@pytest.mark.parametrize("junk", TOKENIZER_JUNK)
def test_a_tokenizer_of_junk_is_one_error(junk: str, target: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(target, tmp_path / "model")
    if junk.startswith("a class"):
        (folder / "tokenizer.json").unlink()
    TOKENIZER_JUNK[junk](folder)
    with pytest.raises(ModelError, match="no tokenizer can be read from"):
        load_tokenizer(ModelSpec(str(folder)))


@pytest.mark.parametrize("kind", ["NONE", "X_LORA", "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", None, ["LORA"]])
def test_an_adapter_of_a_kind_that_reads_more_is_refused(
    kind: object, target: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    add("adapter_config.json", peft_type=kind)(folder)
    assert "adapter_config.json: peft_type: an adapter of the kind" in refused(target, folder)


def test_an_adapter_that_has_a_library_imported_is_refused(target: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    add("adapter_config.json", megatron_core="antigravity", megatron_config={"sizes": 1})(folder)
    assert "adapter_config.json: megatron_config: " in refused(target, folder)
    assert "antigravity" not in sys.modules


def test_an_adapter_that_cannot_be_put_on_is_one_error(target: Path, adapter: Path, tmp_path: Path) -> None:
    load(target, adapter)
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    add("adapter_config.json", init_lora_weights="loftq", loftq_config={"loftq_bits": 4})(folder)
    assert f"no adapter can be read from {folder}: KeyError" in refused(target, folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("modules.json", "[1]", r"modules\.json: 0\.type"),
        ("modules.json", "{}", r"modules\.json: 0\.type"),
        ("1_Pooling/config.json", '{"a": 1}', "no sentence encoder can be read"),
        ("1_Pooling/config.json", "[1]", r"1_Pooling/config\.json: the file holds no mapping"),
        ("config_sentence_transformers.json", '{"prompts": 5, "__version__": 3}', "no sentence encoder can be read"),
    ],
)
def test_an_encoder_of_junk_is_one_error(
    name: str, content: str, said: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    put(name, content)(folder)
    with pytest.raises(ModelError, match=said):
        _ = SentenceEncoder(folder).model


def test_a_cross_encoder_of_junk_is_one_error(tiny_reranker: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_reranker, tmp_path / "reranker")
    add("config.json", sentence_transformers=3)(folder)
    with pytest.raises(ModelError, match=r"mine\.reranker: no cross-encoder can be read from .*: TypeError"):
        load_cross_encoder(ModelSpec(str(folder)), "mine.reranker", "check the folder")


def fail(error: BaseException) -> Any:
    raise error


def test_too_little_memory_and_a_stop_are_not_the_folders_fault() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")):
        with pytest.raises(OutOfMemoryError, match="for the weights of the folder"), reading("model", "the folder"):
            fail(error)
    with pytest.raises(KeyboardInterrupt), reading("model", "the folder"):
        fail(KeyboardInterrupt())
    with pytest.raises(ModelError, match=r"^found before$"), reading("model", "the folder"):
        fail(ModelError("found before"))
