"""Reads and writes the project's Markdown: blocks, links, anchors, and tables that stand between markers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
MADE = re.compile(r"(<!-- made: (?P<what>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
"""What is made stands between these two lines."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, and the line it begins in."""

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """Every page that has to be true: the README and what is in ``docs/``."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(token.info.strip(), token.content, (token.map or [0])[0] + 1)
        for token in _tokens(page)
        if token.type == "fence"
    ]


def inline_code(page: Path) -> list[str]:
    """What stands as code within a page's sentences and cells."""
    inline = [child for token in _tokens(page) for child in token.children or ()]
    return [child.content for child in inline if child.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    inline = [child for token in _tokens(page) for child in token.children or ()]
    return [str(place) for token in inline for place in (token.attrGet("href"), token.attrGet("src")) if place]


def anchors(page: Path) -> set[str]:
    """What a link can name behind ``#``, as GitHub makes it of the headings."""
    found: Counter[str] = Counter()
    names = set()
    for before, token in zip(_tokens(page), _tokens(page)[1:], strict=False):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or ())
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            names.add(f"{name}-{found[name]}" if found[name] else name)
            found[name] += 1
    return names


def made(text: str) -> list[str]:
    """What a page asks to be made, in order."""
    return [match["what"] for match in MADE.finditer(text)]


def rewrite(text: str, make: Callable[[str], str]) -> str:
    """The page with everything between markers made anew."""
    return MADE.sub(lambda match: f"{match[1]}\n{make(match['what'])}\n{match[3]}", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; what would end a cell or a row is written so that it does not."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    """A text as code."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def commands(block: Block) -> Iterator[str]:
    """The command lines of a block, those that go on behind a backslash joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()
