"""``concept-forget bundle`` and ``verify``: what a run's numbers rest on in one file, and whether they do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

evidence_app = typer.Typer()


@evidence_app.command()
def bundle(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="RUN.bundle.zip beside the run by default.", show_default=False)
    ] = None,
) -> None:
    """Pack config, hashes of the data, attempts, grades, metrics and environment of a run into one file."""
    from concept_forget.evidence.bundling import write_bundle

    written = write_bundle(run_folder, out)
    typer.echo(f"bundle   {written.path}, {written.files} files")
    typer.echo(f"sha256   {written.sha256}")


@evidence_app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `bundle` wrote.", show_default=False)],
) -> None:
    """Grade a bundle's attempts and count its numbers again, and say what does not match (then the exit code is 1)."""
    from concept_forget.evidence.verifying import verify_bundle

    found = verify_bundle(file)
    for mismatch in found.mismatches:
        typer.echo(f"MISMATCH {mismatch}")
    for reason in found.unchecked:
        typer.echo(f"left out {reason}")
    typer.echo("checked  " + ", ".join(f"{number} {what}" for what, number in found.counts.items()))
    typer.echo(f"sha256   {found.sha256}")
    if found.mismatches:
        typer.echo(f"verdict  {len(found.mismatches)} of them do not match")
        raise typer.Exit(1)
    typer.echo("verdict  all of it matches")
