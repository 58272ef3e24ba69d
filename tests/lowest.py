"""The oldest versions that pyproject.toml allows, as constraints for pip.

    python tests/lowest.py > lowest.txt && pip install --constraint lowest.txt '.[dev,offline,openai]'

torch is the tested one: most indexes hold builds for processors of some versions alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTED = ("torch",)
ALWAYS = ("offline", "openai", "train")
"""Extras whose lower bounds are tried; ``vllm`` and ``ray`` speak to one line of releases, ``dev`` are tools."""


def lowest() -> list[str]:
    """A pin for each requirement of the program and of the extras that are tried."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    lines = [*project["dependencies"], *(line for extra in ALWAYS for line in project["optional-dependencies"][extra])]
    found = [re.match(r"([A-Za-z0-9._-]+)(?:\[[a-z,]*\])?>=([0-9.]+)", line) for line in lines]
    assert all(found), "every range begins with its lower bound"
    return sorted(f"{m[1]}=={tested[m[1]] if m[1] in TESTED else m[2]}" for m in found if m)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lowest()))
