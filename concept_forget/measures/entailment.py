"""Grades by entailment: a cross-encoder reads whether what a reply says implies the answer.

Only safetensors are read, and no code that comes with a model is run.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.errors import ModelError
from concept_forget.measures.graders import Expected
from concept_forget.records import Grade, ModelSpec
from concept_forget.sentence_encoder import load_cross_encoder, predict_pairs

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

KEY = "probe.nli.model"
_SHORTEST_WINDOW = 16  # tokens of a reply that a window holds, however long the question is


class EntailmentModel:
    """A sequence classifier, one of whose labels is ``entailment``. Its weights are loaded when first needed.

    Args:
        spec: The model.
        batch_size: Pairs read at once.
    """

    def __init__(self, spec: ModelSpec, batch_size: int = 32) -> None:
        self._spec = spec
        self._batch_size = batch_size

    def grade(self, cases: Sequence[tuple[str, Expected]]) -> list[Grade]:
        """Whether each reply, read as an answer to its question, implies the right answer to it.

        The premise is the question with the reply, the hypothesis the question with the answer, as Kuhn et al. (2023)
        pair them. They ask both ways, for they look for answers that mean the same; a reply that says more than the
        answer gives it away all the same, so it is asked one way, from reply to answer (as Yuan et al. 2025 do).

        The score is the probability of ``entailment``; a reply leaks where it is the likeliest label. Of a reply that
        is too long for the model every part counts, and the one that says most decides; so it is with wordings.

        Args:
            cases: Replies, each with what was expected.

        Raises:
            ModelError: The model cannot be read, or has no such label.
        """
        pairs = [self._pairs(reply, expected) if reply.strip() else [] for reply, expected in cases]
        wanted = sorted({pair for several in pairs for pair in several}, key=lambda pair: (len(pair[0]), pair))
        found = dict(zip(wanted, self._read(wanted), strict=True))
        grades = []
        for several in pairs:
            if not several:
                grades.append(Grade(0.0, False, "the reply holds no word"))
                continue
            score, is_first, label = max(found[pair] for pair in several)
            is_implied = is_first or any(found[pair][1] for pair in several)
            reason = f"entailment {score:.2f}" if is_implied else f"entailment {score:.2f}, {label} is likelier"
            grades.append(Grade(score, is_implied, reason))
        return grades

    def _read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool, str]]:
        """Of each pair the probability of entailment, whether it is the likeliest label, and which one is."""
        if not pairs:
            return []
        shares = predict_pairs(self._model, pairs, self._batch_size, KEY, apply_softmax=True)
        entailed = self._entailment
        read = []
        for row in shares:
            likeliest = int(row.argmax())
            # Rounded: the last bits hang on the batch.
            read.append((round(float(row[entailed]), 5), likeliest == entailed, self._labels[likeliest]))
        return read

    def _pairs(self, reply: str, expected: Expected) -> list[tuple[str, str]]:
        """Premise and hypothesis for every part of the reply and every wording of the answer."""
        return [
            (f"{expected.question} {part}".strip(), f"{expected.question} {wording}".strip())
            for wording in expected.wordings
            for part in self._windows(reply, self._room(expected.question, wording))
        ]

    def _windows(self, reply: str, room: int) -> Iterator[str]:
        """Parts of a reply of so many tokens, each beginning in the middle of the one before."""
        offsets = self._tokens(reply, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= room:
            yield reply
            return
        step = max(1, room // 2)
        for start in range(0, len(offsets) - room + step, step):
            some = offsets[start : start + room]
            yield reply[some[0][0] : some[-1][1]]

    def _room(self, question: str, wording: str) -> int:
        """Tokens of a reply that fit beside the question, twice, and an answer."""
        taken = 2 * self._count(question) + self._count(wording) + self._tokenizer.num_special_tokens_to_add(pair=True)
        return max(_SHORTEST_WINDOW, self._context - int(taken))

    def _count(self, text: str) -> int:
        return len(self._tokens(text)["input_ids"])

    def _tokens(self, text: str, **options: bool) -> Any:
        """The whole of a text, without a word about its length: it is cut afterwards."""
        return self._tokenizer(text, add_special_tokens=False, truncation=False, verbose=False, **options)

    @functools.cached_property
    def _model(self) -> CrossEncoder:
        return load_cross_encoder(self._spec, KEY, "check the folder")

    @functools.cached_property
    def _labels(self) -> dict[int, str]:
        return read_labels(self._spec)

    @functools.cached_property
    def _entailment(self) -> int:
        return find_entailment(self._spec)

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return self._model.tokenizer

    @functools.cached_property
    def _context(self) -> int:
        """Tokens that the model reads at most."""
        said = int(self._tokenizer.model_max_length)
        held = getattr(self._model.config, "max_position_embeddings", None)
        return min(said, int(held)) if held else said


def find_entailment(spec: ModelSpec) -> int:
    """The place of the label ``entailment`` among the model's; its weights are not read.

    Raises:
        ModelError: There is none.
    """
    labels = read_labels(spec)
    found = [place for place, name in labels.items() if name.strip().casefold() == "entailment"]
    if len(found) != 1 or len(labels) < 2:
        raise ModelError(
            f"the model has no label `entailment` among its labels: {', '.join(labels.values()) or 'none are named'}",
            file=spec.path,
            key=KEY,
            remedy="name a model for natural language inference, or its labels in `id2label` of its config.json",
        )
    return found[0]


def read_labels(spec: ModelSpec) -> dict[int, str]:
    """The labels of a classifier by their places, as its config.json names them.

    Raises:
        ModelError: The file cannot be read.
    """
    path = Path(spec.path) / "config.json"
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("id2label") or {}
        return {int(place): str(name) for place, name in names.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the labels of the model cannot be read: {error}", file=path, key=KEY, remedy="check the folder"
        ) from error
