"""Data inside a prompt: what others wrote stands between tags that nobody can close from within.

The tags end in a mark. It is drawn from the whole prompt, all data included, and drawn again where it occurs in it: no
text can hold the mark of a prompt that it is a part of, whoever wrote it and whatever he knows. The same prompt has the
same mark in every run, so that its reply is kept for all of them.
"""

from __future__ import annotations

from itertools import count

from concept_forget.records import named_seed

VERSION = 2  # raise it when the same data stand in a prompt in another way


class Block(str):
    """A text of somebody else's; a template that shows it shows it between tags of this name."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, text: object, name: str) -> Block:
        """Name the text, or what stands for it in a template."""
        block = super().__new__(cls, text)
        block.name = name
        return block

    def enclose(self, mark: object) -> str:
        """The text between its tags, on lines of its own where it has more than one."""
        tag = f"{self.name}-{mark}"
        edge = "\n" if len(self.splitlines()) > 1 else ""
        return f"<{tag}>{edge}{self}{edge}</{tag}>"


class Draft:
    """Stands for the mark until it is drawn, and learns whether the prompt has a place for one."""

    wanted = False

    def __str__(self) -> str:
        """Nothing yet."""
        self.wanted = True
        return ""


def draw_mark(draft: str) -> str:
    """The mark of a prompt, of 12 hexadecimal digits, which does not occur in it.

    Args:
        draft: The prompt without its mark.
    """
    folded = draft.casefold()
    for number in count():
        mark = f"{named_seed(0, 'mark of a prompt', draft, number) % 16**12:012x}"
        if mark not in folded:
            return mark
    raise AssertionError("a text holds only so many marks")
