from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import MADE, ROOT, anchors, links, made, pages, rewrite, table
from tests.docs.settings_tables import SECTIONS, settings_table
from tests.docs.tables import MAKERS, find_command, make

PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- tables ---


@pytest.mark.parametrize("name", NAMES)
def test_a_page_holds_what_the_code_gives(name: str) -> None:
    text = text_of(name)
    assert rewrite(text, make) == text, f"{name} is not what the code gives: run `make docs`"
    assert text.count("<!-- made:") == text.count("<!-- end -->") == len(made(text))  # no marker is misspelt


def test_what_stands_between_markers_is_made_anew_and_nothing_else_is_touched() -> None:
    page = "a\n<!-- made: x -->\nold\n<!-- end -->\nb\n<!-- made: y 1 -->\n<!-- end -->\n"
    new = "a\n<!-- made: x -->\n\nX\n\n<!-- end -->\nb\n<!-- made: y 1 -->\n\nY 1\n\n<!-- end -->\n"
    assert rewrite(page, lambda what: f"{what.upper()}\n") == new
    assert rewrite(new, lambda what: f"{what.upper()}\n") == new
    assert len(MADE.findall(new)) == 2


def test_a_cell_ends_neither_its_row_nor_itself() -> None:
    assert table(("a",), [("one | two\nthree",)]) == "| a |\n| --- |\n| one \\| two three |\n"


def test_every_table_there_can_be_stands_on_a_page() -> None:
    wanted = {what for page in PAGES for what in made(page.read_text(encoding="utf-8"))}
    assert {what.split()[0] for what in wanted} == set(MAKERS)
    assert {what.split()[1] for what in wanted if what.startswith("settings ")} == set(SECTIONS)
    with pytest.raises(ValueError, match="no table called 'setings'"):
        make("setings probe")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_described(section: str) -> None:
    lines = settings_table(section).splitlines()[2:]
    assert lines
    assert [line for line in lines if line.endswith("|  |")] == []


def test_a_setting_is_told_with_its_bounds_choices_and_default() -> None:
    rows = settings_table("probe") + settings_table("expand") + settings_table("unlearn") + settings_table("run")
    for row in (
        "| `threshold` | number > 0, < 1 | `0.15` | Leak above the floor that must be excluded to pass. |",
        '| `engine` | `transformers`, `vllm` | `"transformers"` | What replies',
        '| `neighbours` | {near, middle, far: integer ≥ 0, ≤ 1000} | `{"near": 30, "middle": 12, "far": 6}` |',
        "| `nli` | a section or null | `null` |",
        "| `nli.model` | text | required |",
        "| `continue` | path or null | `null` |",
        "| `layers` | [integer ≥ 0, integer ≥ 0] or null | `null` |",
        '| `method` | a name | `"npo"` |',
        "| `target` | as `target` | required |",
    ):
        assert row in rows


# --- links ---


@pytest.mark.parametrize("name", [*NAMES, "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    page, broken = ROOT / name, []
    for link in links(page):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (page.parent / place) if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_led_to() -> None:
    led = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    assert [name for name, page in zip(NAMES, PAGES, strict=True) if page.name != "README.md" and page not in led] == []
    assert ROOT / "docs" / "README.md" in led


def test_anchors_are_githubs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`: c, d?\n\n## Twice\n\n## Twice\n\n[x](#twice-1) [y](other.md#z)\n", encoding="utf-8")
    assert anchors(page) == {"a-b-c-d", "twice", "twice-1"}
    assert links(page) == ["#twice-1", "other.md#z"]


# --- what a page says of the program ---


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Every text that the program holds, an f-string's pieces one by one."""
    found = []
    for path in (ROOT / "concept_forget").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return found


def failures(name: str) -> Iterator[str]:
    """The messages that a page tells the remedy of."""
    section = text_of(name).partition("## When it fails")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([^`]+)`", line.split(" | ")[0])


@pytest.mark.parametrize("name", [name for name in NAMES if "## When it fails" in text_of(name)])
def test_the_messages_of_a_page_are_those_of_the_program(name: str, said: list[str]) -> None:
    messages = list(failures(name))
    assert len(messages) > 2
    assert [message for message in messages if not any(message in text for text in said)] == []


def test_every_command_has_its_options_or_its_line_on_a_page() -> None:
    told = {what for page in PAGES for what in made(page.read_text(encoding="utf-8"))}
    assert "commands" in told
    groups = {name: one for name, one in find_command().commands.items() if hasattr(one, "commands")}
    assert {f"command {group} {name}" for group, one in groups.items() for name in one.commands} <= told
