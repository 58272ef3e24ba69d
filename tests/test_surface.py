"""What others build upon changes on purpose: API, commands, exit codes, records and config are those that are written down."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surface.told import interface

WRITTEN = Path(__file__).parent / "surface" / "interface.txt"


def test_the_interface_is_the_one_that_is_written_down() -> None:
    """Where the change is meant, CONTRIBUTING.md says how it is written down."""
    written = WRITTEN.read_text(encoding="utf-8")
    changed = list(difflib.unified_diff(written.splitlines(), interface().splitlines(), "written", "found", "", "", 0))
    assert changed == [], "\n".join(changed)


@pytest.mark.parametrize("verb", ["expand", "mine", "compose", "unlearn", "probe", "report"])
def test_a_verb_can_be_called_though_its_package_was_imported(verb: str) -> None:
    code = f"""
import concept_forget
from concept_forget import {verb} as before, Config
import concept_forget.{verb}.stage
from concept_forget import {verb} as after
config = Config.model_validate({{"concept": {{"name": "A"}}, "target": {{"model": "no-such-folder/at-all/here"}}}})
for verb in (before, after, concept_forget.{verb}):
    try:
        verb(config, force=True)
    except concept_forget.UserError as error:
        print(type(error).__name__)
assert concept_forget.{verb}.stage.run
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split() == ["ModelError"] * 3, done.stderr


def test_a_version_is_told_of_every_change() -> None:
    """So that the diff of one release is the diff of this file."""
    sections = [line for line in WRITTEN.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    assert sections == ["# python", "# commands", "# exit codes", "# records", "# config"]
