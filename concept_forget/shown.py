"""How texts of others are shown: on pages, and in Markdown, in which nothing of theirs is markup."""

from __future__ import annotations

import re

_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n\r"},
    0x7F: "\u2421",
    **dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}"),
}
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~-])")
_ENTITIES = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("@"): "&#64;",
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A))),  # which turn the direction of all that follows
}


def visible(text: str) -> str:
    """A text as a page can hold it: control characters as pictures of themselves, no half of a surrogate pair."""
    return text.translate(_PICTURES)


def escape_controls(text: str) -> str:
    """A text on one line, in which what does not show, or turns the direction of writing, is written out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def escape_markdown(text: str) -> str:
    """A text on one line in which nothing is markup, mentions anybody, or links to anything."""
    line = " ".join(visible(text).split())
    escaped = _MARKUP.sub(r"\\\1", line).translate(_ENTITIES)
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")
