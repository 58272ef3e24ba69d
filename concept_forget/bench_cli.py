"""``concept-forget bench``: one command per benchmark."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concept_forget.console import say

if TYPE_CHECKING:
    from concept_forget.benchmarks.wmdp import Part

bench_app = typer.Typer(help="Official scores of a model on benchmarks of the field.", no_args_is_help=True)


class ForgetSetName(enum.Enum):
    """TOFU's forget sets, for the command line's own check."""

    FORGET01 = "forget01"
    FORGET05 = "forget05"
    FORGET10 = "forget10"


class PartName(enum.Enum):
    """What ``bench wmdp`` asks, for the command line's own check."""

    BIO = "bio"
    CYBER = "cyber"
    CHEM = "chem"
    MMLU = "mmlu"


Out = Annotated[Path, typer.Option(help="Folder for the figures.")]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Local copies of the sets; else the hub.", show_default=False)
]


@bench_app.command("tofu")
def tofu(
    out: Out,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Folder or hub id.", show_default=False)] = None,
    forget: Annotated[ForgetSetName, typer.Option(help="The forget set.")] = ForgetSetName.FORGET10,
    data: Data = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="One trained without the forget set: forget quality.", show_default=False),
    ] = None,
    logs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score these evaluation logs in place of a model.", show_default=False),
    ] = None,
    reference_logs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Evaluation logs in place of --reference.", show_default=False),
    ] = None,
) -> None:
    """TOFU: probability, ROUGE-L, truth ratio, model utility, forget quality, and its evaluation logs."""
    from concept_forget.benchmarks.running import bench_tofu, print_tofu

    print_tofu(
        bench_tofu(
            model, out, forget=forget.value, data=data, reference=reference, logs=logs, reference_logs=reference_logs
        )
    )
    say(f"files    {out}")


@bench_app.command("wmdp")
def wmdp(
    out: Out,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Folder or hub id.")],
    parts: Annotated[
        list[PartName] | None,
        typer.Option("--part", help="What to ask; may be repeated. All four by default.", show_default=False),
    ] = None,
    data: Data = None,
) -> None:
    """WMDP: multiple choice by the likelihood of the letters, with MMLU beside it."""
    from concept_forget.benchmarks.running import bench_wmdp, print_wmdp

    chosen: list[Part] = [part.value for part in parts or PartName]
    print_wmdp(bench_wmdp(model, out, parts=chosen, data=data))
    say(f"files    {out}")
