"""Models that many tests share, taught once per session: a tiny world, and the same world without its concepts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: no test may fetch
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before anything imports torch: the workers share the cores among them

import pytest
from filelock import FileLock
from hypothesis import settings

from concept_forget.sandbox.teach import teach_world
from concept_forget.sandbox.world import build_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
def browser() -> Iterator[Browser]:
    """A headless Chromium of the system's, in which pages are opened as people open them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine: `apt-get install chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: extra `dev`")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows as JSON lines and gives the file's path."""

    def write(*rows: Any, name: str = "rows.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
        return str(tmp_path / name)

    return write
