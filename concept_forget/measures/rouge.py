"""ROUGE-1 and ROUGE-L recall of a reply against a reference text."""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

from rouge_score import rouge_scorer, tokenizers

from concept_forget.measures.words import tokenize
from concept_forget.text import drop_unseen


@dataclass(frozen=True, slots=True)
class RougeRecall:
    """The share of the reference's words that the reply holds."""

    rouge_1: float  # in any order
    rouge_l: float  # in the reference's order: the longest common subsequence


class _UnicodeTokenizer(tokenizers.Tokenizer):  # type: ignore[misc]  # rouge_score ships no types
    """Words of any script; rouge_score's own tokenizer keeps a to z only."""

    def tokenize(self, text: str) -> list[str]:
        return [token.norm for token in tokenize(text) if token.is_word]


def rouge_recall(reply: str, reference: str) -> RougeRecall:
    """ROUGE-1 and ROUGE-L recall with Porter stemming, each in [0, 1].

    The settings are those of TOFU's evaluation, so that figures compare. A reference in another script than Latin,
    of which rouge_score's tokenizer would leave nothing, is split into Unicode words instead. Characters that show
    nothing are left out first: that tokenizer would take them for ends of words.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries", §2 and §3; Maini et al. 2024 (TOFU),
    §2.2 for its use here.

    Raises:
        ValueError: The reference holds no word.
    """
    reference, reply = drop_unseen(reference), drop_unseen(reply)
    if not any(letter.isalnum() for letter in reference):
        raise ValueError(f"the reference {reference!r} holds no word to recall")
    scores = _scorer(is_latin=_is_latin(reference)).score(reference, reply)
    return RougeRecall(rouge_1=scores["rouge1"].recall, rouge_l=scores["rougeL"].recall)


def _is_latin(text: str) -> bool:
    return all("LATIN" in unicodedata.name(letter, "") for letter in text if letter.isalpha())


@functools.cache
def _scorer(*, is_latin: bool) -> rouge_scorer.RougeScorer:
    kinds = ["rouge1", "rougeL"]
    if is_latin:
        return rouge_scorer.RougeScorer(kinds, use_stemmer=True)
    return rouge_scorer.RougeScorer(kinds, tokenizer=_UnicodeTokenizer())
