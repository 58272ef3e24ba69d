from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from concept_forget.errors import ModelError
from concept_forget.records import Example
from concept_forget.training.batches import (
    Item,
    StepPlan,
    TokenRow,
    collate,
    draw_indices,
    encode_examples,
    split_by_length,
)


def with_template(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    changed = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>", bos_token="<|start|>", pad_token="<|pad|>"
    )
    changed.chat_template = template
    return changed


def answer_text(tokenizer: PreTrainedTokenizerFast, row: TokenRow) -> str:
    return str(tokenizer.decode(row.answer))


def row(length: int, answer_start: int = 1) -> TokenRow:
    return TokenRow(str(length), tuple(range(10, 10 + length)), answer_start)


def test_of_a_chat_the_completion_and_the_end_of_the_turn_count(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    encoded = encode_examples([make_example("Where was Mira Kestrel born?", "Dunholm")], tokenizer, 64)
    assert answer_text(tokenizer, encoded.rows[0]).strip() == "Dunholm<|end|>"
    assert "born?" in tokenizer.decode(encoded.rows[0].tokens[: encoded.rows[0].answer_start])


def test_the_prompt_is_what_a_generating_model_is_shown(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    example = make_example("Where was Mira Kestrel born?", "Dunholm")
    shown = tokenizer.apply_chat_template(example.prompt, tokenize=False, add_generation_prompt=True)
    encoded = encode_examples([example], tokenizer, 64).rows[0]
    assert list(encoded.tokens[: encoded.answer_start]) == tokenizer(shown, add_special_tokens=False)["input_ids"]


def test_white_space_that_a_template_puts_after_the_turn_does_not_count(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    template = (
        "{%- for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}{{ m.content }}"
        "{{ '<|end|>\\n' }}{%- endfor %}{{ '<|assistant|>' if add_generation_prompt }}"
    )
    encoded = encode_examples([make_example("Who wrote that?", "Dunholm")], with_template(tokenizer, template), 64)
    assert answer_text(tokenizer, encoded.rows[0]).strip() == "Dunholm<|end|>"


def test_a_turn_that_the_template_leaves_open_is_ended(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    open_ended = with_template(tokenizer, "{%- for m in messages %}{{ m.content + ' ' }}{%- endfor %}")
    encoded = encode_examples([make_example("Who wrote that?", "Dunholm")], open_ended, 64)
    assert answer_text(tokenizer, encoded.rows[0]).strip() == "Dunholm<|end|>"


def test_what_a_template_puts_before_a_closed_reply_is_no_answer(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    thinking = with_template(
        tokenizer,
        "{%- for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>think nothing ' }}{{ m.content }}"
        "{{ '<|end|>' }}{%- endfor %}{{ '<|assistant|>' if add_generation_prompt }}",
    )
    encoded = encode_examples([make_example("Who wrote that?", "Dunholm")], thinking, 64)
    assert answer_text(tokenizer, encoded.rows[0]).strip() == "Dunholm<|end|>"


def test_of_a_passage_everything_but_its_start_counts(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    encoded = encode_examples([make_example("", "Mira Kestrel was born in Dunholm.")], tokenizer, 64).rows[0]
    assert tokenizer.decode(encoded.tokens[:1]) == "<|start|>"
    assert answer_text(tokenizer, encoded) == "Mira Kestrel was born in Dunholm."


def test_rows_without_an_answer_are_left_out_and_named(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    blank = make_example("Where was Mira Kestrel born?", "  \n")
    crowded_out = make_example("Where was Mira Kestrel born? " * 5, "Dunholm")
    fine = make_example("Who wrote that?", "Dunholm")
    encoded = encode_examples([blank, crowded_out, fine], tokenizer, 16)
    assert encoded.empty == (blank.id, crowded_out.id)
    assert [kept.id for kept in encoded.rows] == [fine.id]


def test_a_row_that_is_too_long_loses_its_end_and_is_counted(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    long = make_example("", "Mira Kestrel was born in Dunholm. " * 4)
    whole = encode_examples([long], tokenizer, 64)
    encoded = encode_examples([long], tokenizer, 10)
    assert whole.cut == 0
    assert encoded.cut == 1
    assert encoded.rows[0].tokens == whole.rows[0].tokens[:10]


def test_chats_need_a_chat_template(tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        encode_examples([make_example("Who?", "Dunholm")], with_template(tokenizer, None), 64)


def test_a_template_that_drops_the_completion_is_refused(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    deaf = with_template(tokenizer, "{{ messages[0].content }}")
    with pytest.raises(ModelError, match="changes or drops the completion 'Dunholm'"):
        encode_examples([make_example("Who?", "Dunholm")], deaf, 64)


def test_where_the_pad_is_the_end_token_real_ends_still_count(
    tokenizer: PreTrainedTokenizerFast, make_example: Callable[..., Example]
) -> None:
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    rows = encode_examples(
        [make_example("Who?", "Dunholm"), make_example("Who wrote the Silent Harbour?", "Dunholm")], tokenizer, 64
    ).rows
    batch = collate([Item(0, index, one) for index, one in enumerate(rows)], pad_token=end)
    assert batch.is_answer.sum(1).tolist() == [len(one.answer) for one in rows]
    assert all(batch.tokens[number][batch.is_answer[number]][-1] == end for number in range(2))
    short = rows[0]
    assert batch.tokens[0, len(short.tokens) :].eq(end).all()  # pads that look like ends
    assert not batch.is_answer[0, len(short.tokens) :].any()


@given(count=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_pass_over_the_rows_meets_each_row_once(count: int, size: int, seed: int) -> None:
    drawn = [index for step in range(2 * count) for index in draw_indices(count, size, step, seed, "forget")]
    for begin in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[begin : begin + count]) == list(range(count))


def test_draws_depend_on_seed_name_and_step_alone() -> None:
    assert draw_indices(50, 8, 3, 1, "forget") == draw_indices(50, 8, 3, 1, "forget")
    others = [
        draw_indices(50, 8, 3, 2, "forget"),
        draw_indices(50, 8, 3, 1, "retain"),
        draw_indices(50, 8, 4, 1, "forget"),
    ]
    assert all(other != draw_indices(50, 8, 3, 1, "forget") for other in others)


@given(lengths=st.lists(st.integers(2, 90), min_size=1, max_size=40), bound=st.integers(1, 200))
def test_micro_batches_hold_every_row_once_within_the_bound(lengths: list[int], bound: int) -> None:
    items = [Item(0, index, row(length)) for index, length in enumerate(lengths)]
    parts = split_by_length(items, bound)
    assert sorted(item.index for part in parts for item in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(len(item.row.tokens) for item in part) <= bound


def test_a_step_holds_rows_of_every_group_and_counts_them() -> None:
    forget = tuple(row(length, 2) for length in (5, 6, 7))
    retain = tuple(row(length, 3) for length in (8, 9, 10, 11))
    step = StepPlan((forget, retain), (2, 10), seed=0, pad_token=0, batch_tokens=30)(0)
    items = [item for batch in step.batches for item in batch.items]
    assert step.rows == (2, 4)  # a group never gives more rows than it has
    assert step.tokens[1] == sum(len(one.answer) for one in retain)
    assert sorted(item.index for item in items if item.group == 1) == [0, 1, 2, 3]
    assert len(step.batches) > 1


def test_a_group_may_be_left_out() -> None:
    step = StepPlan(((row(5),), ()), (1, 0), seed=0, pad_token=0, batch_tokens=30)(0)
    assert step.rows == (1, 0)
