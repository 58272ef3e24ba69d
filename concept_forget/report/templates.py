"""Where pages come from: templates beside the module that renders them, their values escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def page_environment(folder: Path) -> Environment:
    """Renders the templates of a folder as HTML; a value that is missing is an error.

    Args:
        folder: Holds ``*.html.jinja``.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
