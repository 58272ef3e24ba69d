from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from concept_forget.console import say, strip_controls


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
