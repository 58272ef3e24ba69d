from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.mine.chunks import cut, cut_in_blocks, sentence_spans
from concept_forget.mine.readers import Piece

texts = st.text(
    st.sampled_from(list("aB. \n\r\t!?…。」\"'0m，́é漢字")) | st.characters(exclude_categories=("Cs",)), max_size=300
)


def chunks_of(text: str, limit: int, start: int = 0) -> list[str]:
    return [chunk.text for chunk in cut(Piece("doc", text, start), limit)]


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text, 0, len(text))]


@given(texts, st.integers(1, 80), st.integers(0, 1000))
def test_chunks_are_exact_in_order_short_enough_and_leave_out_nothing_but_space(
    text: str, limit: int, offset: int
) -> None:
    chunks = list(cut(Piece("doc", text, offset), limit))
    place = 0
    for chunk in chunks:
        start, end = chunk.start - offset, chunk.end - offset
        assert place <= start < end
        assert text[place:start].strip() == ""
        assert text[start:end] == chunk.text == chunk.text.strip()
        assert len(chunk.text) <= limit
        place = end
    assert text[place:].strip() == ""


def test_whole_sentences_share_a_chunk_as_long_as_they_fit() -> None:
    text = "One is here. Two is here. Three is here."
    assert chunks_of(text, 25) == ["One is here. Two is here.", "Three is here."]
    assert chunks_of(text, 24) == ["One is here.", "Two is here.", "Three is here."]
    assert chunks_of(text, 40) == [text]


def test_a_paragraph_ends_a_chunk() -> None:
    assert chunks_of("One.\n\nTwo.\r\n \r\nThree\nfour.", 500) == ["One.", "Two.", "Three\nfour."]


def test_a_long_sentence_is_cut_at_spaces_and_the_next_one_joins_its_rest() -> None:
    assert chunks_of("aaaa bbbb cccc dddd eeee. Next.", 15) == ["aaaa bbbb cccc", "dddd eeee.", "Next."]
    assert chunks_of("aaaa bbbb cccc dddd. Next.", 15) == ["aaaa bbbb cccc", "dddd. Next."]


def test_where_there_is_no_space_a_sentence_is_cut_hard() -> None:
    assert chunks_of("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_row_that_is_one_stays_one() -> None:
    text = "Question: Where?\nAnswer: " + "There. " * 40
    (chunk,) = cut(Piece("doc", text, whole=True), 50)
    assert chunk.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Kestrel met M. Kestrel and J. R. R. Holt at St. Ives.",
        "It weighs 3.14 kg, i.e. about No. 7 of vol. 2 by Quill et al. in fact.",
        "She lives in the U.S. and in Dunholm.",
        "Well... maybe not.",
        "He asked “why?” and left.",
        "1. The first of a list",
        "Visit example.com/a.b?c=d today",
        "Am 3. oktober",
    ],
)
def test_these_are_one_sentence(text: str) -> None:
    assert sentences(text) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He came. She left.", ["He came.", "She left."]),
        ("“He came.” She left!  Then?", ["“He came.”", "She left!", "Then?"]),
        ("Born in 1962. She wrote.", ["Born in 1962.", "She wrote."]),
        ("彼は来た。彼女は「行く。」と言った！終わり", ["彼は来た。", "彼女は「行く。」", "と言った！", "終わり"]),
        ("من هي؟ كاتبة.", ["من هي؟", "كاتبة."]),
        ("वह आई। वह गई।", ["वह आई।", "वह गई।"]),
        ("Élan vital. Ötzi slept.", ["Élan vital.", "Ötzi slept."]),
    ],
)
def test_these_are_several(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_very_long_text_is_cut_in_linear_time() -> None:
    text = "ab. " * 250_000
    assert "".join(chunks_of(text, 500)).count("ab.") == 250_000
    assert len(chunks_of("." * 100_000 + " " * 100_000 + "\n" * 100_000, 500)) == 200


@pytest.mark.parametrize("size", [1, 3, 7, 8])
def test_chunks_come_in_lists_of_one_length_but_for_the_last(size: int) -> None:
    pieces = [Piece(f"d{number}", f"One sentence of text {number}.") for number in range(7)]
    blocks = list(cut_in_blocks(iter(pieces), 500, size))
    assert [chunk.document for block in blocks for chunk in block] == [piece.document for piece in pieces]
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert 0 < len(blocks[-1]) <= size
    assert list(cut_in_blocks([], 500, size)) == []
