"""Folders that ``datasets`` opens as a whole: which they are, and that nothing in them names a file elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from concept_forget.config import CorpusSource
from concept_forget.errors import DataError, first_line
from concept_forget.mine.folders import files_in

CARD = "README.md"
_EXTRA_CARD = ".huggingface.yaml"
_PATHS = ("data_files", "data_dir")
_SPLITS, _STATE = "dataset_dict.json", "state.json"
_ELSEWHERE = re.compile(r"://|::|^[/\\~]|^\w:|(^|[/\\])\.\.([/\\]|$)")


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote it."""
    return (folder / _SPLITS).is_file() or (folder / _STATE).is_file()


def is_dataset(folder: Path, choice: CorpusSource) -> bool:
    """Whether a folder is one dataset to ``datasets``, not just a place with files in it."""
    if is_saved(folder) or choice.name is not None or choice.split != "train":
        return True
    card = folder / CARD
    if not card.is_file():
        return False
    head, *_ = card.read_text(encoding="utf-8-sig", errors="replace").split("\n---", 1)
    return head.startswith("---") and re.search(r"^(configs|dataset_info):", head, re.MULTILINE) is not None


def check_dataset(folder: Path, key: str) -> None:
    """Refuse a dataset that names files outside of its folder, which ``datasets`` would read or ask a server for.

    Args:
        folder: The folder.
        key: The config key, for error messages.

    Raises:
        DataError: A link, its card, or what ``save_to_disk`` wrote leads elsewhere; or these cannot be read.
    """
    if links := files_in(folder, hidden=True).links:
        raise DataError(
            "a link in a dataset leads out of its folder, or to a folder",
            file=links[0],
            key=key,
            remedy="put what it leads to in its place, or take it out",
        )
    for file, path in _named(folder, key):
        if _ELSEWHERE.search(path):
            raise DataError(
                f"a dataset names a file outside of its folder: {path!r}",
                file=file,
                key=key,
                remedy="take it out if you trust who wrote it, or give the path of the files instead of the folder",
            )


def _named(folder: Path, key: str) -> Iterator[tuple[Path, str]]:
    """Every path that a dataset names, and the file in which it stands."""
    if is_saved(folder):
        yield from _saved_paths(folder, key)
        return
    import yaml
    from huggingface_hub import DatasetCard

    for file in (folder / CARD, folder / _EXTRA_CARD):
        if not file.is_file():
            continue
        try:
            if file.name == CARD:
                told: Any = DatasetCard.load(file).data.to_dict()
            else:
                told = yaml.safe_load(file.read_text(encoding="utf-8"))
            configs = (told or {}).get("configs") or []
            paths = [path for config in configs for name in _PATHS for path in _texts(config.get(name))]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
            raise _unreadable(file, key, error) from error
        yield from ((file, path) for path in paths)


def _saved_paths(folder: Path, key: str) -> Iterator[tuple[Path, str]]:
    splits: list[str] = []
    if (file := folder / _SPLITS).is_file():
        splits = [str(name) for name in _read(file, "splits", key)]
        yield from ((file, name) for name in splits)
    for file in [folder / _STATE, *(folder / split / _STATE for split in splits)]:
        if file.is_file():
            yield from ((file, path) for path in _texts(_read(file, "_data_files", key)))


def _read(file: Path, name: str, key: str) -> list[Any]:
    try:
        return list(json.loads(file.read_text(encoding="utf-8")).get(name) or [])
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(file, key, error) from error


def _texts(value: Any) -> Iterator[str]:
    """All texts in lists and mappings, each of which is looked into once."""
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, (dict, list)) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, dict) else one


def _unreadable(file: Path, key: str, error: Exception) -> DataError:
    return DataError(
        f"this is not what a dataset says of itself: {first_line(error)}",
        file=file,
        key=key,
        remedy="mend it, or give the path of the files instead of the folder",
    )
