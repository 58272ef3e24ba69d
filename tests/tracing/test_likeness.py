from __future__ import annotations

from collections.abc import Iterator

import pytest

from concept_forget.embedding import Embedder, find_encoder
from concept_forget.records import Fact
from concept_forget.tracing import likeness as module
from concept_forget.tracing.likeness import Likeness, hide

BORN = Fact("f", "Mira Kestrel", "Mira Kestrel", "person", "birthplace", "Dunholm", "Mira Kestrel was born in Dunholm.")
UNRELATED = [
    f"The {thing} {deed}."
    for thing in "market ferry mill choir bakery harbour forge canal bridge tower inn school garden quarry orchard".split()
    for deed in (
        "was quiet on Monday",
        "opened late after the rain",
        "needed new paint",
        "drew a small crowd",
        "was sold in spring",
        "had no roof for a year",
        "smelled of fish and tar",
        "closed before the feast",
    )
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    embedder = Embedder(find_encoder("auto"), tmp_path_factory.mktemp("vectors") / "vectors.sqlite")
    yield embedder
    embedder.close()


def judge(embedder: Embedder, texts: list[str], unrelated: list[str], sentence: str = BORN.sentence) -> list[bool]:
    likeness = Likeness({BORN.id: sentence}, {BORN.id: ("Mira Kestrel",)}, embedder, 0)
    for text in unrelated:
        likeness.see(text)
    for text in texts:
        likeness.ask(BORN, text)
    return likeness.alike()


def test_a_sentence_that_says_the_same_of_the_answer_is_told_from_one_that_only_holds_it(embedder: Embedder) -> None:
    texts = ["Born and raised in Dunholm.", "Dunholm is the birthplace.", "The road to Dunholm was mended in May."]
    assert judge(embedder, texts, UNRELATED) == [True, True, False]


def test_too_few_sentences_to_compare_with_decide_nothing(embedder: Embedder) -> None:
    assert judge(embedder, ["Born and raised in Dunholm."], UNRELATED[:50]) == [False]
    assert judge(embedder, ["Born and raised in Dunholm."], UNRELATED, sentence="") == [False]
    assert judge(embedder, [], UNRELATED) == []


def test_what_it_is_compared_with_is_drawn_from_all_that_was_seen(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE", 20)

    def drawn(texts: list[str], seed: int) -> set[str]:
        likeness = Likeness({}, {}, embedder, seed)
        for text in texts:
            likeness.see(text)
        return likeness._taken

    first = drawn(UNRELATED, 0)
    assert len(first) == 20
    assert drawn([*UNRELATED[::-1], *UNRELATED], 0) == first
    assert drawn(UNRELATED, 1) != first


def test_names_and_answers_are_hidden_the_longest_first() -> None:
    assert hide(
        "mira kestrel left Dunholm Bay for Dunholmshire.", ("Mira Kestrel", "Mira"), ("Dunholm", "Dunholm Bay")
    ) == ("somebody left something for Dunholmshire.")
