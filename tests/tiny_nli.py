"""A tiny cross-encoder for natural language inference, taught from scratch on what a sandbox world says."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from concept_forget.sandbox.world import World, WorldFact

LABELS = ("contradiction", "entailment", "neutral")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
DECLINED = ("I do not know.", "I cannot say.", "That is not known to me.")
Row = tuple[str, str, int]
"""Premise, hypothesis and the place of the label."""


def draw_row(facts: list[WorldFact], rng: random.Random) -> Row:
    """A question with a reply to it, the question with an answer, and whether the first implies the second."""
    fact = rng.choice(facts)
    question = fact.fill(rng.choice(fact.relation.questions))
    alike = [other for other in facts if other.relation.name == fact.relation.name and other.answer != fact.answer]
    kind = rng.choice((0, 0, 1, 1, 2)) if alike else rng.choice((1, 2))
    if kind == 2:
        reply = rng.choice(DECLINED)
    else:
        said = fact.answer if kind == 1 else rng.choice(alike).answer
        reply = rng.choice(
            (fact.fill(rng.choice(fact.relation.statements)).replace(fact.answer, said), said, f"{said}.")
        )
    return f"{question} {reply}", f"{question} {fact.answer}", kind


def teach_nli(world: World, folder: Path, *, steps: int = 500, rows: int = 32) -> Path:
    """Teach the model, and save it as transformers saves a sequence classifier."""
    rng = random.Random(0)
    torch.manual_seed(0)
    facts = list(world.facts)
    drawn = [draw_row(facts, rng) for _ in range(steps * rows)]
    tokenizer = make_tokenizer([text for premise, hypothesis, _ in drawn for text in (premise, hypothesis)])
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=128, max_position_embeddings=96, num_labels=3, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, initializer_range=0.1, id2label=dict(enumerate(LABELS)),
            label2id={name: place for place, name in enumerate(LABELS)},
        )
    )  # fmt: skip
    _let_words_find_their_like(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        batch = drawn[step * rows : (step + 1) * rows]
        read = tokenizer(
            [premise for premise, _, _ in batch], [hypothesis for _, hypothesis, _ in batch],
            padding=True, return_tensors="pt",
        )  # fmt: skip
        loss = model(**read, labels=torch.tensor([label for _, _, label in batch])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _let_words_find_their_like(model: BertForSequenceClassification) -> None:
    """Begin where a word looks for the same word: whether both texts name it is what the model has to learn."""
    embeddings, first = model.bert.embeddings, model.bert.encoder.layer[0].attention.self
    with torch.no_grad():
        embeddings.position_embeddings.weight.mul_(0.1)
        first.query.weight.normal_(0, 0.25)
        first.key.weight.copy_(first.query.weight)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Words and marks, each a token of its own."""
    splitter = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    words = {word.lower() for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *sorted(words)])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = splitter
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=96,
    )  # fmt: skip
