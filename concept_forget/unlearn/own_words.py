"""What the untrained model says by itself, asked once and kept beside its weights: it is worth reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concept_forget.records import Example, ModelSpec
from concept_forget.unlearn.alternatives import answered_strangers, own_guesses
from concept_forget.workspace import read_json, read_records, write_json, write_records

_GUESSES, _STRANGERS, _ASKED = "guesses.json", "strangers.jsonl", "asked.json"


class OwnWords:
    """Asks the model, unless an earlier try did and left the answers in the folder.

    Args:
        target: The model as it is before training.
        folder: Where answers are kept, and in ``asked.json`` the tokens that they took.
        seed: The run's seed.
        batch_tokens: Padded tokens that a batch may hold.
    """

    def __init__(self, target: ModelSpec, folder: Path, seed: int, batch_tokens: int) -> None:
        self._target, self._folder, self._seed, self._batch_tokens = target, folder, seed, batch_tokens

    def guesses(self, forget: Sequence[Example]) -> dict[str, str]:
        """Answers of its own to forget rows, by row id: see ``own_guesses``."""
        path = self._folder / _GUESSES
        if not path.is_file():
            found, tokens = own_guesses(self._target, forget, self._seed, self._batch_tokens)
            self._note(_GUESSES, tokens)
            write_json(path, found)
        guesses: dict[str, str] = read_json(path)
        return guesses

    def strangers(self, forget: Sequence[Example], count: int) -> list[Example]:
        """Each row's question about up to ``count`` names that nobody has, answered: see ``answered_strangers``."""
        path = self._folder / _STRANGERS
        if not path.is_file():
            asked = answered_strangers(self._target, forget, count, self._seed, self._batch_tokens)
            self._note(_STRANGERS, asked.tokens)
            write_records(path, [row for own in asked.rows for row in own])
        return read_records(Example, path)

    @property
    def tokens(self) -> int:
        """Tokens that passed through the model for all of it, before an interruption too."""
        return sum(self._asked().values())

    def _asked(self) -> dict[str, int]:
        path = self._folder / _ASKED
        asked: dict[str, int] = read_json(path) if path.is_file() else {}
        return asked

    def _note(self, what: str, tokens: int) -> None:
        write_json(self._folder / _ASKED, {**self._asked(), what: tokens})
