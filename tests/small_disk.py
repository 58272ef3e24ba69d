"""A disk of a few kilobytes that is really full when it is, grows when it is told to, and can be made read-only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs of its own, mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Give it so many bytes in all."""
        self._remount(f"size={size}")

    def forbid(self) -> None:
        """Make it read-only."""
        self._remount("ro")

    def allow(self) -> None:
        """Make it writable again."""
        self._remount("rw")

    def _remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.folder)], check=True)


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[SmallDisk]:
    """A disk of ``size`` bytes while a block runs; the test is skipped where this user may mount none."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk to fill")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
