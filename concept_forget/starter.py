"""The starter config that ``init`` writes: every key with its description, made from the settings themselves."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic import BaseModel, ValidationError

from concept_forget.concept import Concept
from concept_forget.config import (
    ComposeConfig,
    ExecutionConfig,
    ExpandConfig,
    GeneratorConfig,
    MineConfig,
    ProbeConfig,
    ReportConfig,
    UnlearnConfig,
)
from concept_forget.errors import ConfigError

_HEAD = """\
# What to forget, with which model, and how to check it.
#
#   concept-forget validate FILE     checks this file, and prints the plan
#   concept-forget run FILE          does it; again: goes on where it stopped
#
# Set `target`. Then say where the rows about the concept come from: `data`, `corpus`, or `generator`, the model that
# writes them, which is the target itself unless you name another. Every other key stands below with its default:
# to set one, take the # off its line and off the line of its section.

concept:
  name: {name}
  kind: person                 # a word for the prompts: person, book series, organisation, hazardous topic, …
  description: ""              # a sentence or two that tell it from its namesakes
  aliases: []                  # other names that mean the same concept
  forget: []                   # facets that must go; empty: all of them
  keep: []                     # what must stay, of the concept or near it
  replace: []                  # stale knowledge, each as {{old: answer, new: answer, facet: what is asked}}

target:                        # the model that knows the concept
  model: path/to/model         # a folder with safetensors, or a hub id; or sandbox: {{world: 0}} to try things out

# corpus: [data/*.jsonl]       # where it may have been learned; also {{path: hub/dataset, split: train, text: body}}
# data:                        # rows you already have: JSON lines of question/answer (and paraphrases) or of text
#   forget: rows.jsonl
#   retain: other.jsonl        # what must stay
#   collateral: third.jsonl    # about others again: never trained on, asked to see what else was lost
# reference: path/to/model     # a model that never saw the concept, if there is one

seed: 0
output: runs/{folder}
"""

_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("generator", GeneratorConfig),
    ("expand", ExpandConfig),
    ("mine", MineConfig),
    ("compose", ComposeConfig),
    ("unlearn", UnlearnConfig),
    ("probe", ProbeConfig),
    ("report", ReportConfig),
    ("execution", ExecutionConfig),
)


def starter_config(name: str, folder: str) -> str:
    """A commented config for a concept.

    Args:
        name: The concept's name.
        folder: Name of the run's folder under ``runs/``.

    Raises:
        ConfigError: No concept can have that name.
    """
    try:
        Concept(name=name)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(problem, key="--name", remedy="give what the concept is called") from error
    parts = [_HEAD.format(name=json.dumps(name, ensure_ascii=False), folder=folder)]
    for section, model in _SECTIONS:
        lines = [f"\n# {section}:"]
        for key, field in model.model_fields.items():
            value = field.get_default(call_default_factory=True)
            for part in textwrap.wrap(field.description or "", width=104):
                lines.append(f"#   # {part}")
            lines.append(f"#   {field.alias or key}: {_yaml(value)}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _yaml(value: Any) -> str:
    """A default as one line of YAML (JSON is YAML)."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(value, ensure_ascii=False)
