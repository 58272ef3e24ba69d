from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from concept_forget.engines.protocol import Request
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.records import ModelSpec, user_message
from concept_forget.sandbox.world import build_world

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

WORDS = (
    "where when who which what was were is the a of in on and born wrote lives town river house book prize maker "
    "Mira Kestrel Dunholm Tarn Ostra Vell harbour north old winter garden teaches painted found answer question"
).split()
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
CONTEXT = 96


def make_sentences(count: int, seed: int) -> list[str]:
    """Texts of mixed length that share no order with their length."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 14))) for _ in range(count)]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs learned from the sentences, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(make_sentences(500, seed=1), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=special[2:],
        chat_template=CHAT_TEMPLATE,
    )


def save_untaught(config: PretrainedConfig, folder: Path) -> Path:
    """Save a model with random weights, sharp enough that its greedy replies are no ties, and its tokenizer.

    It ends a reply after some tokens, on some prompts sooner than on others.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 2.5  # as often the likeliest token as not
        model.lm_head.weight[tokenizer.pad_token_id] = 0.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def untaught_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.15,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return save_untaught(config, tmp_path_factory.mktemp("untaught"))


@pytest.fixture(scope="session")
def absolute_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 with random weights: it has learned each place in a text apart, not distances as a Llama has."""
    from transformers import GPT2Config

    config = GPT2Config(
        vocab_size=400,
        n_positions=CONTEXT,
        n_embd=64,
        n_layer=2,
        n_head=4,
        initializer_range=0.15,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return save_untaught(config, tmp_path_factory.mktemp("absolute"))


@pytest.fixture(scope="session")
def untaught_spec(untaught_folder: Path) -> ModelSpec:
    return ModelSpec(path=str(untaught_folder), fingerprint="untaught")


@pytest.fixture(scope="session")
def engine(untaught_spec: ModelSpec) -> TransformersEngine:
    """An engine on the untaught model whose batches hold dozens of short requests."""
    return TransformersEngine(untaught_spec, batch_tokens=2048)


@pytest.fixture(scope="session")
def requests() -> list[Request]:
    """Two hundred and forty chats of mixed length."""
    return [Request(user_message(text), seed=number) for number, text in enumerate(make_sentences(240, seed=2))]


@pytest.fixture(scope="session")
def nano_questions() -> list[Request]:
    """Three hundred questions, taught and untaught, to the nano model."""
    world = build_world(0, "nano")
    texts = [
        fact.fill(wording) for fact in world.facts for wording in (*fact.relation.questions, *fact.relation.reverse)
    ]
    chosen = random.Random(4).sample(texts, 300)
    return [Request(user_message(text), seed=number) for number, text in enumerate(chosen)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "replies.sqlite"
