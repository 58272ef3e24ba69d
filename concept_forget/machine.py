"""The machine a run is done on: its versions, and the memory that was taken."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Versions of everything that may change a number, and the machine, for ``run.json``."""
    packages = (
        "concept-forget", "torch", "transformers", "datasets", "sentence-transformers", "faiss-cpu", "accelerate",
        "peft", "tokenizers", "safetensors", "numpy", "scipy", "pydantic", "xgrammar", "rouge-score",
    )  # fmt: skip
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": versions,
    }


@contextlib.contextmanager
def memory_peak() -> Iterator[Callable[[], int]]:
    """Largest resident memory, in bytes, since the block began; since the process began where Linux is absent."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5 resets the high-water mark

    def peak() -> int:
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    yield peak
