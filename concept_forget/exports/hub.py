"""Pushes an export to the Hugging Face hub: its tables through ``datasets``, and the card and what goes with it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from concept_forget.errors import UserError, first_line
from concept_forget.exports.layout import Layout

if TYPE_CHECKING:
    from datasets import Dataset

_KEY = "--push-to-hub"


def check_hub(repository: str, *, public: bool) -> str:
    """Make sure, before anything is written, that the hub can be written to.

    Args:
        repository: The name of a dataset there; without an owner it is one of the token's own.
        public: Whether everybody may see it.

    Returns:
        The name with its owner.

    Raises:
        UserError: The hub is switched off, there is no token, it is not accepted, the name is none, or the dataset is
            there already and can be seen by everybody though it should not.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no name of a dataset", key=_KEY, remedy="as in name/set") from error
    if constants.HF_HUB_OFFLINE:
        raise UserError("the hub is switched off here", key=_KEY, remedy="unset HF_HUB_OFFLINE")
    if huggingface_hub.get_token() is None:
        raise UserError("there is no token for the hub", key=_KEY, remedy="set HF_TOKEN, or run `hf auth login`")
    with _explained(repository):
        api = huggingface_hub.HfApi()
        owner = api.whoami()["name"]
        repository = repository if "/" in repository else f"{owner}/{repository}"
        try:
            found = api.dataset_info(repository)
        except RepositoryNotFoundError:
            return repository
    if not found.private and not public:
        raise UserError(
            f"{repository!r} is there already, and everybody can see it",
            key=_KEY,
            remedy="name another, make it private on the hub, or say --public",
        )
    return repository


def push(layout: Layout, card: str, repository: str, *, public: bool) -> None:
    """Push all files of an export and its card.

    Tables go through ``datasets``, as one configuration for each part of the export, and are Parquet there; all other
    files go as they are.

    Raises:
        UserError: The hub refuses, or cannot be reached.
    """
    from datasets import DatasetDict
    from huggingface_hub import CommitOperationAdd, HfApi

    tables = {path for splits in layout.subsets.values() for paths in splits.values() for path in paths}
    others = {path: content for path, content in layout.files.items() if path not in tables}
    additions = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
        for path, content in {"README.md": card.encode("utf-8"), **others}.items()
    ]
    with _explained(repository), _quiet():
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        api.create_commit(repository, additions, commit_message="Add the card", repo_type="dataset")
        for name, splits in layout.subsets.items():
            parts = {split: _read(layout, paths) for split, paths in splits.items()}
            DatasetDict(parts).push_to_hub(repository, config_name=name, private=not public)


def _read(layout: Layout, paths: list[str]) -> Dataset:
    """Tables as a dataset: with the types of what is in them, where ``datasets`` would guess dates in JSON."""
    import pyarrow.parquet
    from datasets import Dataset, concatenate_datasets

    parts = []
    for path in paths:
        content = layout.files[path]
        if path.endswith(".parquet"):
            parts.append(Dataset(pyarrow.parquet.read_table(io.BytesIO(content))))
        elif path.endswith(".jsonl"):
            parts.append(Dataset.from_list([json.loads(line) for line in content.splitlines()]))
        else:
            parts.append(Dataset.from_list(json.loads(content)))
    return concatenate_datasets(parts)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the bars and remarks of ``datasets`` and of the hub's client about every file off the screen."""
    import datasets
    from datasets.utils import logging
    from huggingface_hub import utils

    level = logging.get_verbosity()
    shown = [package for package in (datasets, utils) if not package.are_progress_bars_disabled()]
    logging.set_verbosity_error()
    for package in shown:
        package.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        for package in shown:
            package.enable_progress_bars()


@contextlib.contextmanager
def _explained(repository: str) -> Iterator[None]:
    """Turn what the hub's client raises into one error."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the client below it

    try:
        yield
    except (HTTPError, OSError) as error:
        response = getattr(error, "response", None)
        status = f" ({response.status_code})" if response is not None else ""
        raise UserError(
            f"{repository!r} cannot be written on the hub{status}: {first_line(error)}",
            key=_KEY,
            remedy="check the name, the token's right to write there, and the connection",
        ) from error
