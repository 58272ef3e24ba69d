"""How far forgetting has come, from validation rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

from concept_forget.training.batches import TokenRow
from concept_forget.unlearn.validation import KNOWN_MARGIN, RETAIN_TIER, Validation, ValidationRow

VOCABULARY = 16
ANSWER = 9


class TableModel(nn.Module):
    """A language model of one answer: after token t it says ``ANSWER`` with probability ``levels[t]``."""

    def __init__(self, levels: dict[int, float]) -> None:
        super().__init__()
        table = torch.zeros(VOCABULARY, VOCABULARY)
        for token, level in levels.items():
            table[token] = math.log((1 - level) / (VOCABULARY - 1))
            table[token, ANSWER] = math.log(level)
        self.table = nn.Embedding.from_pretrained(table, freeze=False)
        self.head = nn.Identity()

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, **_: object) -> CausalLMOutput:
        return CausalLMOutput(logits=self.head(self.table(input_ids)))


def row(token: int) -> TokenRow:
    return TokenRow(str(token), (token, ANSWER), 1)


def rows(*places: tuple[str, int, Sequence[int]]) -> list[ValidationRow]:
    return [
        ValidationRow(tier, row(token), tuple(row(stranger) for stranger in strangers))
        for tier, token, strangers in places
    ]


def validate(levels: dict[int, float], given: list[ValidationRow]) -> Validation:
    return Validation(given, TableModel(levels), pad_token=0, batch_tokens=64)


BASE = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.1, 5: 0.2, 6: 0.6}
ROWS = rows(("new_form", 1, [4, 5]), ("new_fact", 2, [4]), (RETAIN_TIER, 3, ()), (RETAIN_TIER, 6, ()))


def test_before_training_nothing_is_forgotten_and_all_is_kept() -> None:
    look = validate(BASE, ROWS).look(TableModel(BASE))
    assert look.forgotten == pytest.approx(0, abs=1e-6)
    assert look.kept == pytest.approx(1)
    assert look.score == pytest.approx(0, abs=1e-6)
    assert look.greedy == {"new_form": 1.0, "new_fact": 1.0, RETAIN_TIER: 1.0}


def test_a_leak_is_measured_from_the_level_about_strangers() -> None:
    look = validate(BASE, ROWS).look(TableModel({**BASE, 1: 0.3, 2: 0.45, 3: 0.35}))
    first = (0.3 - 0.15) / (0.9 - 0.15)
    second = (0.45 - 0.1) / (0.8 - 0.1)
    assert look.leak == {"new_form": pytest.approx(first), "new_fact": pytest.approx(second)}
    assert look.forgotten == pytest.approx(1 - (first + second) / 2)
    assert look.kept == pytest.approx((0.5 + 1) / 2)
    assert look.score == pytest.approx(look.forgotten * look.kept)


def test_tiers_weigh_the_same_however_many_rows_they_have() -> None:
    many = [*ROWS, *rows(("new_form", 1, [4, 5])), *rows(("new_form", 1, [4, 5]))]
    after = TableModel({**BASE, 1: 0.15, 2: 0.8})
    assert validate(BASE, many).look(after).forgotten == pytest.approx(validate(BASE, ROWS).look(after).forgotten)


def test_below_the_floor_nothing_is_gained_and_it_is_told() -> None:
    at, under = ({**BASE, 1: level, 2: 0.1} for level in (0.12, 0.01))
    validation = validate(BASE, ROWS)
    assert validation.look(TableModel(at)).score == pytest.approx(validation.look(TableModel(under)).score)
    assert validation.look(TableModel(at)).below == 0
    assert validation.look(TableModel(under)).below == pytest.approx(0.5)


def test_to_know_a_row_to_keep_better_than_before_is_no_gain() -> None:
    assert validate(BASE, ROWS).look(TableModel({**BASE, 3: 0.99})).kept == pytest.approx(1)


def test_rows_that_base_does_not_know_tell_nothing() -> None:
    near_floor = {**BASE, 1: 0.15 + KNOWN_MARGIN - 0.01}
    validation = validate(near_floor, ROWS)
    assert validation.counts == {"rows": 4, "known_forget": 1, "known_retain": 2}
    assert validation.floor == pytest.approx(0.1)
    assert validation.tells
    only_kept = validate(BASE, [entry for entry in ROWS if entry.tier == RETAIN_TIER])
    assert not only_kept.tells


def test_without_rows_to_keep_all_counts_as_kept() -> None:
    forget_alone = [entry for entry in ROWS if entry.tier != RETAIN_TIER]
    assert validate(BASE, forget_alone).look(TableModel({**BASE, 1: 0.1, 2: 0.1})).score == pytest.approx(1)


def test_the_floor_may_be_that_of_a_model_that_never_learned() -> None:
    reference = TableModel({**BASE, 1: 0.3, 2: 0.75})
    validation = Validation(ROWS, TableModel(BASE), pad_token=0, batch_tokens=64, floor=reference)
    assert validation.counts == {"rows": 4, "known_forget": 1, "known_retain": 2}  # the second it knows as well
    assert validation.floor == pytest.approx(0.3, abs=1e-6)
    assert validation.look(reference).forgotten == pytest.approx(1, abs=1e-6)
    assert validation.look(TableModel({**BASE, 1: 0.6})).forgotten == pytest.approx(0.5, abs=1e-6)


def test_several_models_are_asked_as_a_logit_ensemble() -> None:
    one, other = ({**BASE, 1: level} for level in (0.9, 0.2))
    look = validate(BASE, ROWS).look([TableModel(one), TableModel(other)])
    # The mean of two logits is the geometric mean of the odds, here against the fifteen equal other tokens.
    odds = math.sqrt(0.9 / 0.1 * 0.2 / 0.8)
    expected = odds / (1 + odds)
    assert 1 - look.leak["new_form"] == pytest.approx((0.9 - expected) / (0.9 - 0.15), abs=1e-5)
