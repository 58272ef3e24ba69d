"""Near-duplicates are found as the exact Jaccard similarity says, in linear time."""

from __future__ import annotations

import random

import pytest

from concept_forget.measures import near_duplicates
from concept_forget.measures.near_duplicates import FOUND, NearDuplicates, band_rows, jaccard, shingles

WORDS = [f"w{number}" for number in range(500)]


def _text(rng: random.Random, length: int) -> list[str]:
    return [rng.choice(WORDS) for _ in range(length)]


def _variant(rng: random.Random, words: list[str], changes: int) -> list[str]:
    changed = list(words)
    for place in rng.sample(range(len(words)), changes):
        changed[place] = rng.choice(WORDS)
    return changed


def _exact(first: list[str], second: list[str]) -> float:
    """Jaccard similarity of the runs of three words, counted another way than the module does."""
    sets = [{tuple(words[n : n + 3]) for n in range(len(words) - 2)} for words in (first, second)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_what_is_found_agrees_with_the_exact_similarity() -> None:
    rng = random.Random(0)
    seen, alike, missed = NearDuplicates(0.7), 0, 0
    for number in range(600):
        first = _text(rng, 40)
        second = _variant(rng, first, rng.choice((0, 1, 1, 2, 2, 3, 5, 9)))
        seen.add(f"{number} a", " ".join(first))
        found = seen.add(f"{number} b", " ".join(second))
        if _exact(first, second) >= 0.7:
            alike += 1
            missed += found != f"{number} a"
        else:
            assert found is None  # nothing is called a near-duplicate that is none
    assert 200 < alike < 500
    assert missed <= (1 - FOUND) * alike


@pytest.mark.parametrize(("similarity", "permutations"), [(0.5, 128), (0.8, 128), (0.8, 32)])
def test_a_pair_at_the_threshold_shares_a_band_as_often_as_promised(similarity: float, permutations: int) -> None:
    # Sets of shingles with an exact similarity: 2k shared of n in the union, drawn anew each time.
    rng = random.Random(1)
    union, shared = 40, round(40 * similarity)
    rows = band_rows(similarity, permutations)
    found = 0
    for number in range(200):
        seen = NearDuplicates(similarity, shingle=1, permutations=permutations, seed=number)
        names = [f"x{rng.getrandbits(60)}" for _ in range(union)]
        half = shared + (union - shared) // 2
        seen.add("first", " ".join(names[:half]))
        found += seen.add("second", " ".join(names[:shared] + names[half:])) == "first"
    probability = 1 - (1 - similarity**rows) ** (permutations // rows)
    assert probability >= FOUND
    assert found / 200 >= probability - 0.02


def test_more_rows_would_find_too_few() -> None:
    rows = band_rows(0.8, 128)
    assert 1 - (1 - 0.8 ** (rows + 1)) ** (128 // (rows + 1)) < FOUND


def test_case_punctuation_and_unicode_form_make_no_difference() -> None:
    seen = NearDuplicates()
    seen.add("first", "Where was Mira Kestrel born, and when?")
    assert seen.add("second", "where was MIRA KESTREL born - and ｗｈｅｎ") == "first"


def test_short_texts_are_taken_whole() -> None:
    seen = NearDuplicates()
    seen.add("first", "Mira Kestrel")
    assert seen.add("second", "Mira") is None
    assert seen.add("third", "mira kestrel!") == "first"


def test_texts_without_spaces_are_read_letter_by_letter() -> None:
    assert len(shingles("米拉出生在東京的一個小村莊", 3)) == 11
    seen = NearDuplicates(0.6)
    seen.add("first", "米拉出生在東京的一個小村莊")
    assert seen.add("second", "米拉出生在東京的一個小村") == "first"


def test_texts_of_signs_alone_are_no_duplicates_of_each_other() -> None:
    seen = NearDuplicates()
    seen.add("first", "?!")
    assert seen.add("second", "...") is None
    assert seen.add("third", "") is None
    assert seen.add("fourth", "?!") == "first"


def test_the_most_alike_of_the_earlier_ones_is_named() -> None:
    words = _text(random.Random(2), 60)
    nearer, farther = [*words[:-1], "other"], [*words[:-4], "quite", "an", "other", "end"]
    seen = NearDuplicates(0.8)
    seen.add("farther", " ".join(farther))
    seen.add("nearer", " ".join(nearer))
    assert seen.add("third", " ".join(words)) == "nearer"


def test_a_near_duplicate_is_remembered_itself() -> None:
    # A chain: each is like the one before, the last is not like the first.
    words = _text(random.Random(3), 60)
    chain = [[*words[: 60 - n], *(f"new{k}" for k in range(n))] for n in (0, 4, 8)]
    assert _exact(chain[0], chain[2]) < 0.8 <= _exact(chain[1], chain[2])
    seen = NearDuplicates(0.8)
    assert [seen.add(str(n), " ".join(text)) for n, text in enumerate(chain)] == [None, "0", "1"]


def test_asking_adds_nothing() -> None:
    seen = NearDuplicates()
    assert seen.find("a b c d") is None
    assert len(seen) == 0
    seen.add("first", "a b c d")
    assert seen.find("a b c d") == "first"
    assert len(seen) == 1


def test_the_same_seed_gives_the_same_answers() -> None:
    rng = random.Random(4)
    texts = [" ".join(_variant(rng, WORDS[:30], 4)) for _ in range(300)]
    first, second = NearDuplicates(0.6, seed=7), NearDuplicates(0.6, seed=7)
    assert [first.add(str(n), t) for n, t in enumerate(texts)] == [second.add(str(n), t) for n, t in enumerate(texts)]


def test_texts_of_one_template_take_linear_time_and_pairs_among_them_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # All share most of their shingles: without bounded buckets every one would be compared with every other.
    comparisons = []
    monkeypatch.setattr(near_duplicates, "jaccard", lambda a, b: comparisons.append(1) or jaccard(a, b))
    rng = random.Random(5)
    frame = "please tell me now in one short sentence only what you know about the {} {} and where it was first found"
    seen, counts, found, wanted = NearDuplicates(0.8), [], 0, 0
    for _ in range(2):
        comparisons.clear()
        for number in range(500):
            text = frame.format(f"a{rng.getrandbits(40)}", f"b{rng.getrandbits(40)}")
            seen.add(text, text)
            if number % 10 == 0:
                wanted += 1
                found += seen.add(f"{text} today", f"{text} today") == text
        counts.append(len(comparisons))
    assert counts[0] > 1000  # they are alike enough to be compared at all
    assert counts[1] < 1.5 * counts[0]  # quadratic time would make it three times as many
    assert found >= 0.97 * wanted


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"threshold": 1.1}, {"shingle": 0}, {"permutations": 0}])
def test_settings_without_a_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no near-duplicates"):
        NearDuplicates(**wrong)  # type: ignore[arg-type]


def test_the_similarity_of_two_sets() -> None:
    assert jaccard(frozenset((1, 2, 3)), frozenset((2, 3, 4))) == pytest.approx(0.5)
    assert jaccard(frozenset(), frozenset()) == 1.0
