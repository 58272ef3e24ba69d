from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

from concept_forget import load_config
from concept_forget.report.material import Material
from concept_forget.report.origin import config_text, tell_origin
from concept_forget.report.redaction import Redactor, no_redaction
from concept_forget.workspace import file_hash

CONFIG = """
concepts:
- {name: "Mira: <Kestrel>", kind: person, description: Lives in Ystrand, replace: [{old: Ystrand, new: Dunholm}]}
target: {sandbox: {world: 0, size: nano}}
unlearn: {method: npo, beta: 0.3, layers: [0, 1]}
probe: {attacks: [direct, cloze]}
"""


def test_the_config_that_a_page_shows_is_the_one_that_ran(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIG, encoding="utf-8")
    config = load_config(tmp_path / "one.yaml", ["seed=3"])
    (tmp_path / "two.yaml").write_text(config_text(config, no_redaction()), encoding="utf-8")
    assert load_config(tmp_path / "two.yaml").model_dump() == config.model_dump()


def test_a_hidden_concept_keeps_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(CONFIG, encoding="utf-8")
    config = load_config(tmp_path / "one.yaml")
    name = config.concepts[0].name
    text = config_text(config, Redactor([name], ["Ystrand"], [name]))
    assert "Ystrand" not in text
    assert "Dunholm" not in text
    assert "Mira: <Kestrel>" in text


def test_hashes_on_the_page_are_those_of_the_files(make_page: Callable[..., Path]) -> None:
    folder = make_page()
    page = unescape((folder / "report.html").read_text(encoding="utf-8"))
    for name in ("compose/forget.jsonl", "probe/attempts.jsonl", "mine/snippets.jsonl"):
        found = re.search(f'>{name}</th><td dir="auto">([0-9a-f]{{64}})</td>', page)
        assert found is not None
        assert found[1] == file_hash(folder.parent / name)
    assert "probe0123" in page
    assert "concept-forget run config.yaml" in page


def test_versions_are_named_where_they_are_known() -> None:
    config = load_config_of({"concepts": [{"name": "a"}], "target": "m"})
    tables = {caption: rows for caption, _, rows in tell_origin(config, Material(), no_redaction()).tables}
    assert dict(tables["Versions"])["torch"]
    assert tables["Models"] == []


def load_config_of(values: dict[str, object]):
    from concept_forget.config import Config

    return Config.model_validate(values)
