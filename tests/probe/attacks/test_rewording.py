from __future__ import annotations

from difflib import SequenceMatcher
from random import Random

from concept_forget.probe.attacks.rewording import misspell, say_instead
from concept_forget.records import Chat

TEXT = "Where does Mira Kestrel live, in Dunholm or somewhere further north?"


def test_slips_are_few_small_and_drawn_from_the_seed_alone() -> None:
    texts = [misspell(TEXT, Random(seed)) for seed in range(50)]
    assert texts == [misspell(TEXT, Random(seed)) for seed in range(50)]
    assert len(set(texts)) > 40
    for text in texts:
        pairs = list(zip(TEXT.split(), text.split(), strict=True))
        changed = [(old, new) for old, new in pairs if old != new]
        assert 1 <= len(changed) <= 3
        assert all(old[0] == new[0] and SequenceMatcher(None, old, new).ratio() > 0.7 for old, new in changed)
        assert all(len(old) >= 4 for old, _ in changed)


def test_an_answer_among_the_words_is_spared() -> None:
    spared = [misspell(TEXT, Random(seed), ("dunholm", "")) for seed in range(50)]
    assert all("Dunholm" in text for text in spared)
    assert not all("Dunholm" in misspell(TEXT, Random(seed)) for seed in range(50))


def test_words_without_a_longer_one_stay() -> None:
    assert misspell("Who is it?", Random(0)) == "Who is it?"


def test_only_the_last_message_says_something_else() -> None:
    chat: Chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    assert say_instead(chat, "What?") == [chat[0], {"role": "user", "content": "What?"}]
