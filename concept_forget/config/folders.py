"""The folder that a config names: usable, and one, however its name is spelt."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def spelled_as_found(path: Path) -> Path:
    """The path as it stands on the disk where a part of it differs in Unicode form alone; NFC where it is new.

    A name with an accent is one folder, whether it was typed in one character (NFC) or came from a system that keeps
    accents apart (NFD).

    Raises:
        ValueError: It names no folder, or not in characters that a file can be named by.
    """
    text = os.fspath(path)
    if path.name in ("", "..") or "\0" in text:
        raise ValueError(f"{text!r} names no folder of its own")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not in UTF-8") from error
    if text.isascii():
        return path
    made = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        made /= part if os.path.lexists(made / part) else _found(made, unicodedata.normalize("NFC", part))
    return made


def _found(folder: Path, plain: str) -> str:
    """The name in a folder that is ``plain`` in NFC; else ``plain``."""
    try:
        there = sorted(os.listdir(folder))
    except OSError:  # it is to be made
        return plain
    return next((name for name in there if unicodedata.normalize("NFC", name) == plain), plain)
