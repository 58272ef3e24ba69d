"""What is said on a terminal: text from files and models can move no cursor and hide no line, and no key is shown."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from concept_forget.credentials import hide_keys, hide_values

if TYPE_CHECKING:
    from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What a terminal heeds: its commands, other line ends, and marks that turn the direction of writing."""


def strip_controls(text: str) -> str:
    """The text without what a terminal would heed instead of showing; ends of lines and tabs stay."""
    return _CONTROL.sub("", text)


def plain_text(text: str, style: str = "") -> Text:
    """A text for a table or a panel: as it is, without markup, and without keys and what a terminal would heed.

    Args:
        text: Anything that came from a file or a model.
        style: What rich shows it in.
    """
    from rich.text import Text

    return Text(strip_controls(hide_values(text)), style=style)


def say(line: str, *, error: bool = False) -> None:
    """Print a line, to the standard error where it tells of one."""
    # Not through click, which turns to UTF-8 where a terminal has fewer letters.
    print(hide_keys(strip_controls(line)), file=sys.stderr if error else sys.stdout, flush=True)
