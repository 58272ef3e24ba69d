"""From rows of text to batches of token ids in which answer tokens are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concept_forget.errors import ModelError
from concept_forget.model_files import reading
from concept_forget.records import Chat, Example, named_random

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One row as tokens. The answer is its tail, ``tokens[answer_start:]``: at least one token, never the first."""

    id: str
    tokens: tuple[int, ...]
    answer_start: int

    @property
    def answer(self) -> tuple[int, ...]:
        """The tokens that count."""
        return self.tokens[self.answer_start :]


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows as tokens, and what became of those that did not fit.

    ``cut`` counts rows that lost their end; ``empty`` holds the ids of rows that were left out because no answer token
    was in them, or none was left.
    """

    rows: tuple[TokenRow, ...]
    cut: int
    empty: tuple[str, ...]

    @property
    def answer_tokens(self) -> int:
        """Answer tokens over all rows."""
        return sum(len(row.answer) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Item:
    """A row drawn for a step. ``group`` says what it is there for and ``index`` is its place among its group's rows."""

    group: int
    index: int
    row: TokenRow


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that pass through the model together.

    ``tokens`` (rows, width) is padded on the right, so that under causal attention no token sees a pad and no mask is
    needed. ``is_answer`` (rows, width) marks the tokens that count, by position and not by id: where the padding token
    is the end-of-text token, real ends still count.
    """

    items: tuple[Item, ...]
    tokens: torch.Tensor
    is_answer: torch.Tensor

    @property
    def padded_tokens(self) -> int:
        """What the model computes on."""
        return self.tokens.numel()


def encode_examples(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> TokenRows:
    """Turn rows into tokens: of a chat its completion and the end of the turn count, of a passage all but the start.

    Args:
        examples: Rows; one with an empty ``prompt`` is a passage.
        tokenizer: Its chat template lays out the chats.
        max_tokens: Longer rows lose their end.

    Raises:
        ModelError: There are chats and the tokenizer has no chat template, or one that drops the completion.
    """
    rows, cut, empty = [], 0, []
    for example in examples:
        if not example.completion.strip():
            empty.append(example.id)
            continue
        if example.prompt:
            tokens, start = _encode_chat(example.prompt, example.completion, tokenizer)
        else:
            tokens, start = _encode_passage(example.completion, tokenizer)
        cut += len(tokens) > max_tokens
        if start < min(len(tokens), max_tokens):
            rows.append(TokenRow(example.id, tuple(tokens[:max_tokens]), start))
        else:
            empty.append(example.id)
    return TokenRows(tuple(rows), cut, tuple(empty))


def _encode_chat(prompt: Chat, completion: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    if tokenizer.chat_template is None:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path or 'the model'} has no chat template",
            remedy="save one with the model (chat_template.jinja), so that questions and answers can be laid out",
        )
    head = _render(tokenizer, prompt, add_generation_prompt=True)
    whole = _render(tokenizer, [*prompt, {"role": "assistant", "content": completion}]).rstrip()
    # A template may put more between a closed turn and its text than it does for generation: look for the text itself.
    shared = _common_prefix(head, whole)
    begins = whole.find(completion.strip(), shared)
    if begins < 0:
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path or 'the model'} changes or drops the completion "
            f"{completion[:60]!r}",
            remedy="use a chat template that renders what the assistant says as it is",
        )
    tokens = _tokenize(tokenizer, whole)
    if not whole[begins + len(completion.strip()) :] and tokenizer.eos_token_id is not None:
        tokens.append(tokenizer.eos_token_id)  # the template does not end the turn, and a reply has to end
    return tokens, _common_prefix(_tokenize(tokenizer, whole[:begins]), tokens)


def _encode_passage(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    tokens = list(tokenizer(text, verbose=False)["input_ids"])
    if tokens and tokens[-1] == tokenizer.eos_token_id:
        tokens.pop()  # some tokenizers close every text; a passage is a piece of a longer one
    return tokens, 1  # nothing predicts the first token


def _render(tokenizer: PreTrainedTokenizerBase, chat: Chat, *, add_generation_prompt: bool = False) -> str:
    messages: list[Any] = list(chat)
    with reading("chat template", tokenizer.name_or_path or "the model"):  # a template may raise whatever it likes
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    assert isinstance(text, str)
    return text


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _common_prefix(first: Sequence[object], second: Sequence[object]) -> int:
    for position, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return position
    return min(len(first), len(second))


def groups_of(batch: MicroBatch) -> list[int]:
    """The groups that have rows in a micro-batch, in order."""
    return sorted({item.group for item in batch.items})


@dataclass(frozen=True, slots=True)
class Step:
    """Everything one optimiser step sees. ``rows`` and ``tokens`` count rows and answer tokens by group.

    A mean over the step is the sum of its micro-batches' sums over these counts, however the rows were parted.
    """

    batches: tuple[MicroBatch, ...]
    rows: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Which rows each step sees: a function of the step's number.

    Args:
        groups: Rows by group, as in forget and retain; a group may be empty.
        sizes: Rows per step, by group.
        seed: Of the draws.
        pad_token: Fills up shorter rows.
        batch_tokens: Padded tokens a micro-batch may hold.
        follows: Groups that are not drawn for themselves: their rows stand beside those of the same index in another
            group, in the same micro-batch.
    """

    groups: tuple[tuple[TokenRow, ...], ...]
    sizes: tuple[int, ...]
    seed: int
    pad_token: int
    batch_tokens: int
    follows: Mapping[int, int] = field(default_factory=dict)

    def __call__(self, step: int) -> Step:
        """The rows of step ``step``, counted from 0."""
        units: list[list[Item]] = []
        for group, (rows, size) in enumerate(zip(self.groups, self.sizes, strict=True)):
            if group in self.follows:
                continue
            members = [group, *(other for other, leader in self.follows.items() if leader == group)]
            for index in draw_indices(len(rows), size, step, self.seed, str(group)):
                units.append([Item(member, index, self.groups[member][index]) for member in members])
        drawn = [[item for unit in units for item in unit if item.group == group] for group in range(len(self.groups))]
        return Step(
            batches=tuple(collate(part, self.pad_token) for part in split_units(units, self.batch_tokens)),
            rows=tuple(len(items) for items in drawn),
            tokens=tuple(sum(len(item.row.answer) for item in items) for items in drawn),
        )


def draw_indices(count: int, size: int, step: int, seed: int, name: str) -> list[int]:
    """The rows of one step: the next ``size`` of an endless row of shuffled passes over ``count`` rows.

    A function of its arguments alone, so that a resumed run meets the rows that an uninterrupted one would have met.

    Args:
        count: Rows there are.
        size: Rows per step; all of them, once each, where there are fewer.
        step: Steps done before, from 0.
        seed: The run's seed.
        name: Names the draw.
    """
    size = min(size, count)
    drawn: list[int] = []
    position = step * size
    while len(drawn) < size:
        order = list(range(count))
        named_random(seed, name, "pass", position // count).shuffle(order)
        begin = position % count
        taken = order[begin : begin + size - len(drawn)]
        drawn += taken
        position += len(taken)
    return drawn


def split_by_length(items: Sequence[Item], max_padded_tokens: int) -> list[list[Item]]:
    """Part rows into micro-batches of similar length, each of at most ``max_padded_tokens`` (or of a single row)."""
    return split_units([[item] for item in items], max_padded_tokens)


def split_units(units: Sequence[list[Item]], max_padded_tokens: int) -> list[list[Item]]:
    """``split_by_length`` for rows that must not be parted: each list stays together, in its order."""

    def width(unit: list[Item]) -> int:
        return max(len(item.row.tokens) for item in unit)

    ordered = sorted(units, key=lambda unit: (-width(unit), unit[0].group, unit[0].index))
    parts: list[list[Item]] = []
    widest = 0
    for unit in ordered:
        if not parts or (len(parts[-1]) + len(unit)) * widest > max_padded_tokens:
            parts.append([])
            widest = width(unit)
        parts[-1] += unit
    return parts


def collate(items: Sequence[Item], pad_token: int, width: int | None = None) -> MicroBatch:
    """Put rows side by side, padded on the right to the longest, or to ``width``."""
    import torch

    width = width or max(len(item.row.tokens) for item in items)
    tokens = torch.full((len(items), width), pad_token, dtype=torch.long)
    is_answer = torch.zeros((len(items), width), dtype=torch.bool)
    for number, item in enumerate(items):
        end = len(item.row.tokens)
        tokens[number, :end] = torch.tensor(item.row.tokens, dtype=torch.long)
        is_answer[number, item.row.answer_start : end] = True
    return MicroBatch(tuple(items), tokens, is_answer)
