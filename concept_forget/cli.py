"""The command line: one thin command per verb.

Exit codes: 0 done, 1 the gate is not passed, 2 the user's mistake, 3 a fault, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concept_forget.bench_cli import bench_app
from concept_forget.console import say
from concept_forget.corpus_cli import index, trace
from concept_forget.evidence_cli import evidence_app
from concept_forget.exports import TARGETS
from concept_forget.sandbox_cli import sandbox_app
from concept_forget.text import counted

if TYPE_CHECKING:
    from concept_forget.comparison.running import Comparison
    from concept_forget.config import Config
    from concept_forget.pipeline import RunResult


app = typer.Typer(
    name="concept-forget",
    help="Write the data that makes a language model forget a concept, unlearn it, and measure what is left.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(bench_app, name="bench")
app.add_typer(evidence_app)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML config file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in unlearn.beta=0.2.", show_default=False),
]
Redact = Annotated[
    bool, typer.Option("--redact", help="Hide answers, replies and snippets in the report; as report.redact does.")
]
Force = Annotated[bool, typer.Option("--force", help="Run the stage again though it is up to date.")]


def _export_help() -> str:
    """The help of ``export``, from the registration of the targets."""
    targets = "\n\n".join(
        f"{target.name}: {target.summary.partition(': ')[2] or target.summary}." for target in TARGETS.values()
    )
    return f"Write the sets of a finished run in the layout of another program, with a card.\n\n{targets}"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"concept-forget {version('concept-forget')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What holds for no command alone."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # silences a warning about forks that do not happen
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without a name's letters shows their numbers instead
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as leave:
        code = leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _complain("stopped; the same command goes on from here")
        code = 130
    except typer.TyperException as error:
        show = getattr(error, "show", None)  # the usage line and what is wrong with the call
        show() if callable(show) else _complain(str(error))
        code = 2
    except Exception as error:
        from concept_forget.faults import tell_error

        code = tell_error(error)
    sys.exit(code or 0)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("concept.yaml"),
    name: Annotated[str, typer.Option(help="The concept's name.")] = "Mira Kestrel",
) -> None:
    """Write a commented starter config."""
    from concept_forget.errors import UserError
    from concept_forget.starter import starter_config
    from concept_forget.workspace import folder_name, write_text

    if file.exists():
        raise UserError("the file exists already", file=file, remedy="name another file")
    write_text(file, starter_config(name, folder_name(name)))
    say(f"wrote {file}; next: set its `target`, then `concept-forget validate {file}`")


@app.command()
def validate(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check everything that can be checked without running, and print the plan."""
    loaded = _load(config, overrides)
    if loaded.compare is not None:
        from concept_forget.comparison.planning import print_comparison_plan

        print_comparison_plan(loaded)
        return
    from concept_forget.planning import print_plan

    print_plan(loaded)


@app.command()
def run(
    config: ConfigFile,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "report",
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="STAGE", help="Run this stage again.", show_default=False),
    ] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit 1 unless the verdict is passed.")] = False,
    redact: Redact = False,
    overrides: Overrides = None,
) -> None:
    """Run all stages that are not up to date; of a config with `compare:` or `rounds:`, those of all its runs."""
    from concept_forget import api

    loaded = _load(config, _redacting(overrides, redact))
    if loaded.compare is not None:
        _run_comparison(loaded, plain=until == "report" and not force and not gate)
        return
    result = api.run(loaded, until=until, force=tuple(force or ()), say=say)
    if not result.steps:  # one of several processes, which only trained along
        return
    _show_result(result)
    if gate and result.outcome != "passed":
        raise typer.Exit(1)


@app.command()
def expand(config: ConfigFile, force: Force = False, overrides: Overrides = None) -> None:
    """Let the generator write facts and questions about the concepts and their neighbours."""
    _run_verb("expand", config, force, overrides)


@app.command()
def mine(config: ConfigFile, force: Force = False, overrides: Overrides = None) -> None:
    """Find what the corpus says about the concepts."""
    _run_verb("mine", config, force, overrides)


@app.command()
def compose(config: ConfigFile, force: Force = False, overrides: Overrides = None) -> None:
    """Divide all rows into forget, retain, validation, probe and collateral."""
    _run_verb("compose", config, force, overrides)


@app.command()
def unlearn(config: ConfigFile, force: Force = False, overrides: Overrides = None) -> None:
    """Train the target to forget."""
    _run_verb("unlearn", config, force, overrides)


@app.command()
def probe(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="A YAML config file.", show_default=False)
    ] = None,
    force: Force = False,
    regrade: Annotated[bool, typer.Option("--regrade", help="Grade the replies again; ask nothing.")] = False,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Probe this model alone: folder or hub id.", show_default=False)
    ] = None,
    probes: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --model: a finished run, or exported sets.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --model: a new or empty folder.", show_default=False)] = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --model: attack or family; may be repeated.", show_default=False),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="With --model: one that never learned it.", show_default=False),
    ] = None,
) -> None:
    """Ask base, unlearned and reference model what they know; or with --model and --probes any model."""
    from concept_forget.errors import ConfigError

    if config is not None and not (model or probes or out or attacks or reference):
        _run_verb("probe", config, force, overrides, regrade=regrade)
        return
    if config is not None or model is None or probes is None or out is None or force or regrade or overrides:
        raise ConfigError(
            "what is to be probed is not clear",
            key="probe",
            remedy="give a CONFIG, or --model MODEL --probes DIR --out DIR with --attacks and --reference",
        )
    from concept_forget.probe.one_model import probe_model
    from concept_forget.report.one_model import print_one_model

    print_one_model(probe_model(model, probes, out, attacks=attacks or (), reference=reference))
    say(f"files    {out}")


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG | RUN...", help="A YAML config file; or folders of finished runs.")
    ],
    force: Force = False,
    redact: Redact = False,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of several runs: where the page goes.", show_default="comparison.html"),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write the page, metrics.json and the verdict; or one page that compares finished runs."""
    if any(path.is_dir() for path in runs):
        _compare_runs(runs, page or Path("comparison.html"), plain=not (force or overrides))
        return
    if len(runs) > 1 or page is not None:
        from concept_forget.errors import ConfigError

        raise ConfigError(
            "what is to be reported is not clear",
            key="report",
            remedy="give one CONFIG; or folders of finished runs, with --page FILE for the page that compares them",
        )
    _run_verb("report", runs[0], force, _redacting(overrides, redact))


@app.command()
def show(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]) -> None:
    """Print what a run consists of and what it found."""
    from concept_forget.planning import print_run

    print_run(run_folder)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or of comparisons.")],
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page with the chart there.", show_default=False)
    ] = None,
) -> None:
    """Print finished runs side by side; runs that differ in their world alone are one arm."""
    _compare_runs(runs, page)


@app.command()
def preview(
    config: ConfigFile,
    items: Annotated[int, typer.Option("-n", min=1, max=1000, help="Items to show of each kind, at most.")] = 5,
    overrides: Overrides = None,
) -> None:
    """Let the generator write a little, and print its prompts and replies; nothing is kept."""
    from concept_forget.preview import print_preview

    print_preview(_load(config, overrides), items)


@app.command(help=_export_help())
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder; its stage compose is finished.")],
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="Whose layout: one of those above.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    licence: Annotated[
        str, typer.Option("--license", metavar="NAME", help="Of the rows, as in cc-by-4.0.")
    ] = "unknown",
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="REPO", help="Push to this dataset on the hub too.", show_default=False)
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see what is pushed.")] = False,
) -> None:
    """Write the sets of a run in the layout of another program."""
    from concept_forget.exports.exporting import export_sets

    layout = export_sets(run_folder, to, out, licence=licence, push_to_hub=push_to_hub, public=public)
    say(f"wrote    {counted(len(layout.files), 'file')} and a card to {out}")
    if layout.left_out:
        rows = counted(layout.left_out.total(), "row")
        say(f"left out {rows} that the layout has no place for; {out / 'README.md'} tells which")
    if push_to_hub is not None:
        say(f"pushed   to the dataset {push_to_hub}{'' if public else ', which is private'}")


app.command()(index)
app.command()(trace)


@app.command()
def methods() -> None:
    """Print every way to forget: formula, paper, what it needs, and what a step of it costs."""
    from concept_forget.unlearn.catalogue import print_methods

    print_methods()


@app.command()
def doctor() -> None:
    """Print versions, devices, memory, and which extras are usable and why not."""
    from concept_forget.doctor import print_health

    print_health()


def _load(file: Path, overrides: list[str] | None) -> Config:
    from concept_forget.config_file import load_config

    return load_config(file, overrides or ())


def _run_verb(verb: str, file: Path, force: bool, overrides: list[str] | None, *, regrade: bool = False) -> None:
    from concept_forget import pipeline

    result = pipeline.run(_load(file, overrides), until=verb, force=(verb,) if force else (), regrade=regrade, say=say)
    _show_result(result)


def _redacting(overrides: list[str] | None, redact: bool) -> list[str]:
    return [*(overrides or ()), *(["report.redact=true"] if redact else ())]


def _compare_runs(runs: list[Path], page: Path | None, *, plain: bool = True) -> None:
    from concept_forget.comparison.running import compare_finished, write_page
    from concept_forget.errors import ConfigError

    if not plain:
        raise ConfigError(
            "--force and --set are for a config, and finished runs are compared as they are",
            key="report",
            remedy="leave them out",
        )
    found = compare_finished(runs)
    _show_comparison(found)
    if page is not None:
        write_page(page, ", ".join(run.resolve().name for run in runs), found)
        say(f"page     {page}")


def _run_comparison(config: Config, *, plain: bool) -> None:
    from concept_forget.comparison.running import PAGE, run_comparison
    from concept_forget.errors import ConfigError

    if not plain:
        raise ConfigError(
            "--until, --force and --gate are for a single run, and this config compares several",
            key="compare",
            remedy="leave them out",
        )
    _show_comparison(run_comparison(config, say=say))
    say(f"page     {config.output / PAGE}")


def _show_comparison(comparison: Comparison) -> None:
    from concept_forget.comparison.table import print_comparison

    print_comparison(comparison.arms, comparison.gap)
    for run in comparison.unfinished:
        say(f"missing  {run.arm} · {run.repetition} is not finished")


def _show_result(result: RunResult) -> None:
    """The table and where to find more; before the report, the last stage's summary."""
    if result.metrics is not None:
        from concept_forget.planning import read_summary
        from concept_forget.report.terminal import print_metrics

        print_metrics(result.metrics, written=read_summary(result.folder, "expand"))
        say(f"report   {result.folder / 'report' / 'report.html'}")
        return
    last = result.steps[-1]
    if last.folder is not None:
        from concept_forget.planning import print_summary

        print_summary(last.verb, last.folder)
        say(f"files    {result.folder / last.verb}")


def _complain(message: str) -> None:
    say(f"concept-forget: {message}", error=True)


if __name__ == "__main__":
    main()
