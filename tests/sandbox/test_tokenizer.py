from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from concept_forget.sandbox.tokenizer import SPECIAL_TOKENS, train_tokenizer

TEXTS = ("Where was Mira Kestrel born?", "Mira Kestrel was born in Dunholm.", "home\nbook\nmentor")
TOKENIZER = train_tokenizer(TEXTS, max_length=128)


def ids_of(text: str) -> list[int]:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert isinstance(ids, list)
    return ids


@given(st.text().filter(lambda text: not any(token in text for token in SPECIAL_TOKENS)))
def test_every_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(ids_of(text)) == text


@given(st.text(alphabet=" \n\t\r  aé_", max_size=12))
def test_white_space_comes_back(text: str) -> None:
    assert TOKENIZER.decode(ids_of(text)) == text


def test_a_word_is_one_token_wherever_it_stands() -> None:
    first, inside, line = ids_of("Kestrel"), ids_of("Mira Kestrel"), ids_of("home\nKestrel")
    assert len(first) == 1
    assert inside[-1] == line[-1] == first[0]


def test_an_unknown_word_falls_into_bytes_and_no_unknown_token_exists() -> None:
    assert len(ids_of("Xq字")) == 1 + 2 + 3  # a space, two letters, one character of three bytes
    assert TOKENIZER.unk_token is None


def test_prompt_and_reply_are_cut_alike_together_and_apart() -> None:
    chat = [{"role": "user", "content": "Where was Mira Kestrel born?"}, {"role": "assistant", "content": "Dunholm"}]
    whole = TOKENIZER.apply_chat_template(chat, tokenize=True, return_dict=False)
    prompt = TOKENIZER.apply_chat_template(chat[:1], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert whole == [*prompt, *ids_of("Dunholm"), TOKENIZER.eos_token_id]


def test_a_reply_can_be_opened_and_left_open() -> None:
    chat = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Mira Kestrel was"}]
    text = TOKENIZER.apply_chat_template(chat, tokenize=False, continue_final_message=True)
    assert text == "<|user|>Where?<|assistant|>Mira Kestrel was"


def test_plain_text_begins_with_a_start_token() -> None:
    assert TOKENIZER("born")["input_ids"] == [TOKENIZER.bos_token_id, *ids_of("born")]


def test_padding_is_no_end() -> None:
    assert len({TOKENIZER.pad_token_id, TOKENIZER.eos_token_id, TOKENIZER.bos_token_id}) == 3


def test_it_is_saved_whole(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.chat_template == TOKENIZER.chat_template
    assert loaded("Mira Xq\n born")["input_ids"] == TOKENIZER("Mira Xq\n born")["input_ids"]


@pytest.mark.parametrize("order", [TEXTS, TEXTS[::-1]])
def test_the_vocabulary_does_not_hang_on_the_order_of_texts(order: tuple[str, ...]) -> None:
    again: PreTrainedTokenizerFast = train_tokenizer(order, max_length=128)
    assert again.get_vocab() == TOKENIZER.get_vocab()
