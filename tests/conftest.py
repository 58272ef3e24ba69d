"""Models that many tests share, taught once per session: a tiny world, and the same world without its concepts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: no test may fetch
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch: the workers share the cores among them

import pytest
from filelock import FileLock
from hypothesis import settings

from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import build_world

settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which this session keeps the models that it teaches, for its workers and the command line too."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "models"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONCEPT_FORGET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def nano_model(model_cache: Path) -> Path:
    """The folder of a model that has learned world 0, size nano."""
    with FileLock(model_cache / "nano.lock"):
        return teach_world(0, size="nano", cache_dir=model_cache)


@pytest.fixture(scope="session")
def nano_reference(model_cache: Path) -> Path:
    """The folder of a model that has learned world 0, size nano, without the people to be forgotten."""
    with FileLock(model_cache / "reference.lock"):
        return teach_world(0, without=build_world(0, "nano").concepts, size="nano", cache_dir=model_cache)


@pytest.fixture(scope="session")
def serve_objects() -> Callable[..., Any]:
    """Serves keys and contents as an object store on this machine, while a block runs."""
    from tests.mine.loopback_store import serving

    return serving


@pytest.fixture(scope="session")
def nli_model(model_cache: Path) -> Path:
    """The folder of a tiny cross-encoder that has learned what implies what in world 0, size nano."""
    from tests.tiny_nli import teach_nli

    folder = model_cache / "nli"
    with FileLock(model_cache / "nli.lock"):
        return folder if (folder / "config.json").is_file() else teach_nli(build_world(0, "nano"), folder)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as JSON lines and gives the file's path."""

    def write(*rows: Any, name: str = "rows.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
        return str(tmp_path / name)

    return write
