from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from concept_forget.mine.fusion import Leading, fuse_rankings


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdefghij")), max_size=60), st.integers(1, 6))
def test_the_best_are_kept_each_text_once_whatever_comes_before(offered: list[tuple[int, str]], limit: int) -> None:
    """A text has one score, as a chunk has."""
    score = {text: float(value) for value, text in reversed(offered)}
    leading: Leading[int] = Leading(limit)
    for place, (_, text) in enumerate(offered):
        leading.add(score[text], place, text, place)
    first = {text: place for place, (_, text) in reversed(list(enumerate(offered)))}
    expected = sorted(first.values(), key=lambda place: (-score[offered[place][1]], place))
    assert leading.items() == expected[:limit]
    assert leading.least == (score[offered[expected[limit - 1]][1]] if len(expected) >= limit else -math.inf)


def test_what_two_rankings_rank_high_comes_before_what_one_ranks_first() -> None:
    # 1/62 + 1/62 > 1/61 + nothing; by hand
    assert fuse_rankings([["a", "b", "c"], ["d", "b", "e"]]) == ["b", "a", "d", "c", "e"]


def test_one_ranking_stays_as_it_is_and_none_is_empty() -> None:
    assert fuse_rankings([[3, 1, 2]]) == [3, 1, 2]
    assert fuse_rankings([[], []]) == []


def test_equals_stay_in_the_order_in_which_they_were_ranked_first() -> None:
    assert fuse_rankings([["a", "b"], ["b", "a"]]) == ["a", "b"]
    assert fuse_rankings([["b"], ["a"]]) == ["b", "a"]
