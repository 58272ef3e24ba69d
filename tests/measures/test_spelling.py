"""Slips, spellings and verb forms."""

from __future__ import annotations

import pytest

from concept_forget.measures.spelling import americanise, is_slip, same_stem, sound


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("kestrel", "kestral"),  # a vowel for another
        ("heidelberg", "heidleberg"),  # two letters swapped
        ("penicillin", "penicilin"),  # one left out
        ("dunholm", "dunnholm"),  # one too many
        ("dunholm", "dunholme"),  # a silent ending
        ("cardamom", "cardamon"),  # a consonant that sounds alike
        ("lindqvist", "lindquist"),
        ("cartographer", "cartografer"),
    ],
)
def test_one_slip_in_a_long_word_is_forgiven(word: str, other: str) -> None:
    assert is_slip(word, other)
    assert is_slip(other, word)


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("iceland", "ireland"),  # unlike consonants
        ("daniela", "daniel"),  # another ending
        ("mariano", "mariana"),
        ("austria", "austrian"),
        ("miller", "muller"),  # too short
        ("ashwater", "ashbutter"),  # more than one slip
        ("kestrel", "pestrel"),  # the first letter
        ("1234567", "1234576"),  # not a word
        ("dunholm", "dunholm"),  # no slip at all
    ],
)
def test_another_word_is_no_slip(word: str, other: str) -> None:
    assert not is_slip(word, other)
    assert not is_slip(other, word)


@pytest.mark.parametrize(
    ("british", "american"),
    [
        ("colours", "colors"),
        ("realise", "realize"),
        ("analysed", "analyzed"),
        ("defence", "defense"),
        ("travelled", "traveled"),
        ("catalogue", "catalog"),
        ("programme", "program"),
    ],
)
def test_british_spelling_becomes_american(british: str, american: str) -> None:
    assert americanise(british) == americanise(american)


@pytest.mark.parametrize("word", ["four", "is", "see", "hour"])
def test_short_words_keep_their_spelling(word: str) -> None:
    assert americanise(word) == word


def test_words_that_sound_alike_share_a_sound() -> None:
    assert sound("philippa") == sound("filipa")
    assert sound("farouq") == sound("farouk")
    assert sound("marta") != sound("martha")


@pytest.mark.parametrize(
    ("word", "other", "same"),
    [
        ("won", "win", True),
        ("studied", "study", True),
        ("founder", "founded", True),
        ("written", "wrote", True),
        ("born", "borrow", False),
        ("art", "artist", False),
        ("publish", "publication", True),
    ],
)
def test_verbs_are_known_by_their_stem(word: str, other: str, same: bool) -> None:
    assert same_stem(word, other) is same
