"""The sandbox's tokenizer: whole words where the taught texts have them, bytes for everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, START, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|start|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, START, END, SYSTEM, USER, ASSISTANT)
MAX_WORDS = 12_000

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Each message after its role's token; a reply ends with ``<|end|>``."""


def train_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the words of ``texts`` (the most frequent ``MAX_WORDS``) and all bytes.

    Every text comes back from ``decode(encode(text))`` as it was. A word is one token wherever it stands: a space is
    put before each line and taken away again, so that a line's first word is the word it is elsewhere.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    words: Counter[str] = Counter()
    pieces = _tokenizer({}).pre_tokenizer
    normalizer = _tokenizer({}).normalizer
    for text in texts:
        words.update(word for word, _ in pieces.pre_tokenize_str(normalizer.normalize_str(text)))
    kept = sorted(words, key=lambda word: (-words[word], word))[:MAX_WORDS]
    vocabulary = dict.fromkeys((*SPECIAL_TOKENS, *sorted(ByteLevel.alphabet()), *kept))
    return PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer({token: index for index, token in enumerate(vocabulary)}),
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    # Without merges every word that is no entry falls apart into bytes; ignore_merges takes entries whole.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(" "), normalizers.Replace("\n", "\n ")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Fuse(), decoders.Replace("\n ", "\n"), decoders.Strip(" ", 1, 0)]
    )
    if vocabulary:
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A", pair=f"{START} $A {START} $B", special_tokens=[(START, vocabulary[START])]
        )
    return tokenizer
