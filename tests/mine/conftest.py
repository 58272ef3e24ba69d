from __future__ import annotations

from collections.abc import Iterator

import pytest

from concept_forget.embedding import Embedder, find_encoder


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """The real MiniLM; its vectors are shared by the tests of a session."""
    embedder = Embedder(find_encoder("auto"), tmp_path_factory.mktemp("vectors") / "vectors.sqlite")
    yield embedder
    embedder.close()
