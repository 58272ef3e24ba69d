from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from concept_forget.console import plain_text, say, strip_controls

HOSTILE = (
    "[link=http://127.0.0.1:9/]click[/link]",
    "a [/x] b",
    "[bold red]passed",
    "\x1b]52;c;cHduZWQ=\x07copied",
    "\x1b]8;;http://127.0.0.1:9/\x1b\\\\click\x1b]8;;\x1b\\\\",
    "\x9b5n\u202eevil\u2066",
)
"""What a terminal, or rich on the way to it, would heed."""


def shown_plainly(text: str, sent: str) -> int:
    """How often a terminal shows a text letter by letter, broken anywhere; around it may stand rich's colours alone."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", sent)
    assert strip_controls(plain) == plain
    return "".join(plain.split()).count("".join(strip_controls(text).split()))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_in_a_table_is_nothing_but_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789")
    out = io.StringIO()
    table = Table(title=plain_text(text, "table.title"))
    table.add_column(plain_text(text))
    table.add_row(plain_text(f"{text} sk-0123456789"))
    Console(file=out, force_terminal=True, width=200).print(table)
    assert shown_plainly(text, out.getvalue()) == 3
    assert "sk-0123" not in out.getvalue()


def test_what_a_terminal_would_heed_is_left_out() -> None:
    hostile = "a\x1b[2Jb\x1b]0;title\x07\x9b1mc\r\u202ed\u2066\u2028e\n\tf\x00"
    assert strip_controls(hostile) == "a[2Jb]0;title1mcde\n\tf"
    assert strip_controls("Zoë 🙂 שלום") == "Zoë 🙂 שלום"


def test_a_line_is_said_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\x1b[0m")
    say("two\x07", error=True)
    assert tuple(capsys.readouterr()) == ("one[0m\n", "two\n")


def test_an_error_that_quotes_a_file_sends_the_terminal_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text('concept: {name: A}\ntarget: {model: m}\n"\\e]0;owned\\a": 1\n', encoding="utf-8")
    command = [sys.executable, "-m", "concept_forget.cli", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "]0;owned" in done.stderr
    assert not any(ord(character) < 32 and character not in "\n\t" for character in done.stderr + done.stdout)
