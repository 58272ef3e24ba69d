"""Models with planted leaks, taught once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.probe import planted


@pytest.fixture(scope="session")
def planted_base(model_cache: Path) -> Path:
    """The folder of a model that tells all birthplaces, however it is asked."""
    return planted.teach_base(model_cache)


@pytest.fixture(scope="session")
def planted_model(model_cache: Path) -> Path:
    """The folder of a model that tells each group's birthplaces on one condition alone."""
    return planted.teach_planted(model_cache)
