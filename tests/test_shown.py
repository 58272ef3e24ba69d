from __future__ import annotations

import pytest

from concept_forget.shown import escape_controls, escape_markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("[a](http://b.c)", "\\[a\\]\\(http&#58;//b.c\\)"),
        ("`code` *bold* # no", "\\`code\\` \\*bold\\* \\# no"),
        ("@somebody", "&#64;somebody"),
        ("www.example.org", "www&#46;example.org"),
        ("a\u202eb\u2066c", "abc"),
        ("\x1b[31m", "\u241b\\[31m"),
    ],
)
def test_no_text_becomes_markup(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_what_does_not_show_is_written_out() -> None:
    assert escape_controls("a\nb\x1b[2J\u202e\ud800\u2028é 🙂") == r"a\nb\x1b[2J\u202e\ud800\u2028é 🙂"
