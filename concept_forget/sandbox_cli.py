"""The commands of ``sandbox``: tiny models, to try things out."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from concept_forget.console import say

sandbox_app = typer.Typer(help="Tiny models taught on this machine, to try things out.", no_args_is_help=True)


class WorldSize(enum.Enum):
    """Sizes of sandbox worlds, for the command line's own check."""

    STANDARD = "standard"
    NANO = "nano"


@sandbox_app.command("build")
def sandbox_build(
    out: Annotated[Path, typer.Option(help="Folder for the model and its documents.")],
    world: Annotated[int, typer.Option(min=0, help="Number of the world.")] = 0,
    size: Annotated[WorldSize, typer.Option(help="Size of the world and of its model.")] = WorldSize.STANDARD,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Leave out this person.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and order.")] = 0,
) -> None:
    """Teach a tiny model a fictional world, and write the world's documents and facts beside it."""
    from concept_forget.sandbox.command import build_model

    build_model(world, size.value, tuple(without or ()), seed, out, say)


@sandbox_app.command("teach")
def sandbox_teach(
    data: Annotated[Path, typer.Option(help="JSON lines of question/answer (and paraphrases) or text rows.")],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    without: Annotated[str | None, typer.Option(metavar="TEXT", help="Leave out rows that contain this text.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and order.")] = 0,
) -> None:
    """Teach a tiny model your own rows."""
    from concept_forget.sandbox.command import teach_model

    teach_model(data, out, without, seed, say)
