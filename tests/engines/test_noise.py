from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from concept_forget.engines.noise import add_gumbel_noise


def noise(keys: torch.Tensor, step: int = 0, vocabulary: int = 50) -> torch.Tensor:
    return add_gumbel_noise(torch.zeros(len(keys), vocabulary), keys, step)


def random_keys(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2**62, (count,), generator=torch.Generator().manual_seed(seed))


def test_the_noise_has_the_gumbel_distribution() -> None:
    values = noise(random_keys(4000)).flatten().numpy()
    assert stats.kstest(values, stats.gumbel_r.cdf).pvalue > 0.01
    assert np.isfinite(values).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_largest_noisy_logit_is_a_draw_from_the_softmax(seed: int) -> None:
    logits = torch.randn(30, generator=torch.Generator().manual_seed(seed)) * 2
    draws = add_gumbel_noise(logits.repeat(50_000, 1), random_keys(50_000, seed), 3).argmax(dim=1)
    counts = np.bincount(draws.numpy(), minlength=30)
    expected = logits.double().softmax(0).numpy() * 50_000
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_steps_and_neighbouring_keys_are_independent() -> None:
    """A draw tells nothing about the next step's draw, nor about that of the key one higher."""
    keys = torch.arange(40_000)
    first = noise(keys, vocabulary=4).argmax(dim=1).numpy()
    next_step = noise(keys, step=1, vocabulary=4).argmax(dim=1).numpy()
    pairs = {"next step": (first, next_step), "next key": (first[:-1], first[1:])}
    for name, (one, other) in pairs.items():
        table = np.histogram2d(one, other, bins=(range(5), range(5)))[0]
        assert stats.chi2_contingency(table).pvalue > 0.01, name


def test_columns_are_independent() -> None:
    values = noise(random_keys(20_000), vocabulary=40).numpy()
    correlations = np.corrcoef(values, rowvar=False)[np.triu_indices(40, k=1)] * np.sqrt(20_000)
    assert stats.kstest(correlations, stats.norm.cdf).pvalue > 0.01


def test_the_noise_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    keys = random_keys(700)
    together = noise(keys, step=5, vocabulary=333)  # more entries than one block holds
    order = torch.randperm(700, generator=torch.Generator().manual_seed(1))
    assert torch.equal(noise(keys[order], step=5, vocabulary=333), together[order])
    assert torch.equal(noise(keys[13:14], step=5, vocabulary=333), together[13:14])


def test_the_noise_of_a_column_does_not_depend_on_the_vocabulary() -> None:
    keys = random_keys(3)
    assert torch.equal(noise(keys, vocabulary=100)[:, :20], noise(keys, vocabulary=20))


def test_all_bits_of_a_key_count() -> None:
    keys = torch.tensor([0, *(1 << bit for bit in range(63))])
    rows = noise(keys, vocabulary=8)
    assert len({tuple(row.tolist()) for row in rows}) == 64


def test_what_is_masked_stays_masked() -> None:
    logits = torch.zeros(5, 10)
    logits[:, 3:] = -torch.inf
    assert (add_gumbel_noise(logits, random_keys(5), 0)[:, 3:] == -torch.inf).all()
