"""What a comparison will do before it does it: the text of ``validate``."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from concept_forget import pipeline
from concept_forget.comparison.running import shared_store
from concept_forget.config import Config
from concept_forget.config.arms import arms_of
from concept_forget.engines.prompts import load_prompts
from concept_forget.run_models import RunModels


def print_comparison_plan(config: Config) -> None:
    """Check every arm and print the plan of all of them together.

    Raises:
        UserError: What would stop a run, with its remedy.
    """
    console = Console()
    runs = Table(title="plan", title_justify="left")
    for column in ("arm", "repetition", "up to date", "to run"):
        runs.add_column(column)
    stages: dict[str, dict[str, bool]] = {verb: {} for verb in pipeline.VERBS}
    untaught: dict[str, str] = {}
    wanted: Counter[str] = Counter()
    for arm in arms_of(config):
        if arm.config.generator.engine != "none" or arm.config.compose.holdout:
            load_prompts(arm.config.generator.prompts)
        models = RunModels(arm.config)
        steps = pipeline.plan(arm.config, models=models, store=shared_store(config))
        for step in steps:
            stages[step.verb][step.fingerprint] = step.state != "to run"
            wanted[step.verb] += 1
        for role in models.roles:
            if not models.is_ready(role):
                untaught.setdefault(models.fingerprint(role), f"{role} of {arm.repetition}")
        ready = [step.verb for step in steps if step.state != "to run"]
        stale = [step.verb for step in steps if step.state == "to run"]
        runs.add_row(arm.name, escape(arm.repetition), _listed(ready), _listed(stale))
    console.print(runs)
    for verb, found in stages.items():
        console.print(
            f"{verb:<8} {len(found)} for {wanted[verb]} runs, {sum(not done for done in found.values())} to run",
            highlight=False,
        )
    console.print(
        f"models   {len(untaught)} to be taught first" + "".join(f"\n         {m}" for m in untaught.values()),
        markup=False,
    )
    console.print("the config is valid")


def _listed(verbs: list[str]) -> str:
    return "all" if len(verbs) == len(pipeline.VERBS) else ", ".join(verbs) or "–"
