"""The rows that a method trains on, as tokens: forget, retain, alternatives, other contexts for the same answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concept_forget.config import UnlearnConfig
from concept_forget.engines.prompts import PromptSet
from concept_forget.errors import StageError
from concept_forget.records import Chat, Example, Message
from concept_forget.training.batches import TokenRow, TokenRows, encode_examples
from concept_forget.training.references import Steering
from concept_forget.unlearn.alternatives import random_answer, with_alternative
from concept_forget.unlearn.methods import ALTERNATIVE, FORGET, RETAIN, Method
from concept_forget.unlearn.strangers import about_strangers
from concept_forget.unlearn.validation import RETAIN_TIER, ValidationRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_UNBOUNDED = 1 << 30
STRANGERS = 4
"""Invented names per validation question."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows by group (see ``methods``), what became of those given, and the contexts that a reference is steered by.

    Where alternatives are needed, each forget row has one, with the same index.
    """

    groups: tuple[tuple[TokenRow, ...], ...]
    counts: dict[str, dict[str, object]]
    steering: Steering | None = None

    def answer_tokens(self, groups: Sequence[int]) -> int:
        """Answer tokens over all rows of these groups."""
        return sum(len(row.answer) for group in groups for row in self.groups[group])


class RowReader:
    """Turns rows into tokens for one method.

    Args:
        method: What is trained.
        settings: How.
        tokenizer: The target's.
        prompts: The wordings of other contexts.
        seed: The run's seed.
    """

    def __init__(
        self, method: Method, settings: UnlearnConfig, tokenizer: PreTrainedTokenizerBase, prompts: PromptSet, seed: int
    ) -> None:
        self._method, self._settings, self._tokenizer = method, settings, tokenizer
        self._prompts, self._seed = prompts, seed

    def read(
        self, forget: Sequence[Example], retain: Sequence[Example], guess: Callable[[], Mapping[str, str]]
    ) -> TrainingRows:
        """Rows of every group that the method needs; of the others none, but that forget rows are always read.

        Args:
            forget: Rows to forget.
            retain: Rows to keep.
            guess: Asks the model for its own answers; called where these are needed.

        Raises:
            StageError: No row is left to forget, or to retain; or none has an alternative.
            ModelError: See ``encode_examples``.
        """
        own = self.encode(forget)
        kept = self.encode(retain if self._method.retain else ())
        if not own.rows:
            raise StageError(_nothing_left("forget", forget, own))
        if self._method.retain and not kept.rows:
            raise StageError(
                f"{_nothing_left('retain', retain, kept)}\n"
                "  → give rows to keep (`data.retain`, neighbours, near misses), or set `unlearn.retain: none`"
            )
        counts = {"forget": _counts(own), "retain": _counts(kept)}
        groups = [own.rows, kept.rows, ()]
        if self._method.needs_alternatives:
            others = self._alternatives(own.rows, forget, guess)
            groups[FORGET] = tuple(row for row in own.rows if row.id in others)
            groups[ALTERNATIVE] = tuple(others[row.id] for row in groups[FORGET])
            left_out = tuple(row.id for row in own.rows if row.id not in others)
            counts["alternatives"] = _counts(TokenRows(groups[ALTERNATIVE], 0, left_out))
        steering = None
        if "reference.contrast" in self._method.needs:
            steering = self._steering(groups[FORGET], forget)
        assert len(groups) == max(FORGET, RETAIN, ALTERNATIVE) + 1
        return TrainingRows(tuple(groups), counts, steering)

    def encode(self, examples: Sequence[Example]) -> TokenRows:
        """Rows as tokens, within the length that the settings allow."""
        return encode_examples(examples, self._tokenizer, self._settings.max_tokens)

    def _alternatives(
        self, rows: Sequence[TokenRow], examples: Sequence[Example], guess: Callable[[], Mapping[str, str]]
    ) -> dict[str, TokenRow]:
        kind = self._settings.option("alternative")
        if kind == "random":
            special = frozenset(self._tokenizer.all_special_ids)
            return {row.id: random_answer(row, len(self._tokenizer), special, self._seed) for row in rows}
        guesses = guess() if kind == "own" else {}
        found = [other for example in examples if (other := with_alternative(example, kind, guesses)) is not None]
        wanted = {row.id for row in rows}
        others = {row.id: row for row in self.encode([other for other in found if other.id in wanted]).rows}
        if not others:
            raise StageError(
                f"none of the {len(rows)} rows to forget has an alternative of the kind {kind!r}\n"
                f"  → set `unlearn.alternative` to another kind, or give the rows a {kind!r} column"
                if kind != "own"
                else f"the target had no answer of its own to any of the {len(rows)} rows to forget\n"
                "  → set `unlearn.alternative: refusal`"
            )
        return others

    def _steering(self, rows: Sequence[TokenRow], examples: Sequence[Example]) -> Steering:
        by_id = {example.id: example for example in examples}

        def within(name: str) -> tuple[TokenRow, ...]:
            prompt = self._prompts.get(name)
            return tuple(
                self._behind(prompt.render_text(concept=by_id[row.id].concept), by_id[row.id], row) for row in rows
            )

        return Steering(FORGET, within("expert"), within("novice"), self._settings.option("strength"))

    def _behind(self, text: str, example: Example, row: TokenRow) -> TokenRow:
        """The row with a text before everything else, and the very same answer tokens."""
        if example.prompt:
            changed = dataclasses.replace(example, prompt=_opening_with(text, example.prompt))
            whole = encode_examples([changed], self._tokenizer, _UNBOUNDED).rows[0]
            return TokenRow(row.id, whole.tokens[: whole.answer_start] + row.answer, whole.answer_start)
        told = tuple(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        head = row.tokens[: row.answer_start]
        begins = head[:1] == (self._tokenizer.bos_token_id,)
        head = head[:1] + told + head[1:] if begins else told + head
        return TokenRow(row.id, head + row.answer, len(head))


def validation_rows(
    examples: Sequence[Example], encode: Callable[[Sequence[Example]], TokenRows], seed: int
) -> list[ValidationRow]:
    """Validation rows as tokens, those to forget with the same questions about strangers.

    Args:
        examples: Rows of the tier ``retain``, and rows of other tiers to be forgotten.
        encode: Turns rows into tokens.
        seed: The run's seed.
    """
    to_forget = [example for example in examples if example.tier != RETAIN_TIER]
    strangers = about_strangers(to_forget, STRANGERS, seed)
    variants = {example.id: own for example, own in zip(to_forget, strangers, strict=True)}
    rows = []
    for example in examples:
        own = encode([example]).rows
        if own:
            rows.append(ValidationRow(example.tier, own[0], encode(variants.get(example.id, [])).rows))
    return rows


def _opening_with(text: str, prompt: Chat) -> Chat:
    first: Message = {"role": prompt[0]["role"], "content": f"{text}\n{prompt[0]['content']}"}
    return [first, *prompt[1:]]


def _counts(rows: TokenRows) -> dict[str, object]:
    return {
        "rows": len(rows.rows),
        "tokens": sum(len(row.tokens) for row in rows.rows),
        "answer_tokens": rows.answer_tokens,
        "cut": rows.cut,
        "left_out": list(rows.empty),
    }


def _nothing_left(name: str, examples: Sequence[Example], rows: TokenRows) -> str:
    if not examples:
        return f"there are no rows to {name}"
    first = next(example for example in examples if example.id in rows.empty)
    return (
        f"none of the {len(examples)} rows to {name} has an answer within `unlearn.max_tokens`, "
        f"the first being {first.id} ({first.completion[:60]!r})"
    )
