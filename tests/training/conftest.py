"""A small Llama with random weights and the sandbox's tokenizer: real parts, quick to make."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from concept_forget.records import Example, user_message
from concept_forget.sandbox.tokenizer import train_tokenizer

TEXTS = (
    "Where was Mira Kestrel born?",
    "Who wrote the Silent Harbour, and which ship does the author of that long book sail?",
    "Dunholm",
    "Silent Harbour by the long river",
    "Mira Kestrel was born in Dunholm. Mira Kestrel wrote Silent Harbour.",
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, max_length=128)


@pytest.fixture
def make_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., LlamaForCausalLM]:
    def make(seed: int = 0, **changes: object) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        settings: dict[str, object] = {
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128,
            "tie_word_embeddings": True, "initializer_range": 0.2,
        }  # fmt: skip
        return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).eval()

    return make


@pytest.fixture
def model(make_model: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return make_model()


@pytest.fixture
def make_example() -> Callable[..., Example]:
    def make(prompt: str, completion: str) -> Example:
        chat = user_message(prompt) if prompt else []
        return Example(
            id=Example.make_id(chat, completion), split="forget", concept="Mira Kestrel", subject="Mira Kestrel",
            facet="", fact="", form="direct", family="direct", tier="", prompt=chat, completion=completion,
            answer=completion,
        )  # fmt: skip

    return make


@pytest.fixture
def examples(make_example: Callable[..., Example]) -> list[Example]:
    """Chats and a passage of very different lengths."""
    return [
        make_example(TEXTS[0], TEXTS[2]),
        make_example(TEXTS[1], TEXTS[3]),
        make_example(TEXTS[0], TEXTS[3]),
        make_example("", TEXTS[4]),
        make_example(TEXTS[1], TEXTS[2]),
    ]
