from __future__ import annotations

from concept_forget.compose.rejections import Rejections


def test_reasons_are_counted_with_their_first_example_the_commonest_first() -> None:
    account = Rejections()
    for reason, example in [("b", "one"), ("a", "two\nlines"), ("c", "x"), ("a", "three"), ("d", "y")]:
        account.add(reason, example)
    assert list(account.summary()) == ["a", "b", "c", "d"]
    assert account.summary()["a"] == {"count": 2, "example": "two lines"}
    assert account.commonest() == "a (2, such as 'two lines'); b (1, such as 'one'); c (1, such as 'x')"


def test_an_example_is_cut_short() -> None:
    account = Rejections()
    account.add("long", "x" * 1000)
    assert len(str(account.summary()["long"]["example"])) == 160


def test_without_rejections_there_was_nothing() -> None:
    assert "nothing to begin with" in Rejections().commonest()
