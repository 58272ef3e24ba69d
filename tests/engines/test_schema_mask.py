from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import BaseModel, Field

from concept_forget.engines.schema_mask import SchemaCompiler
from concept_forget.errors import DataError
from concept_forget.models import load_tokenizer
from concept_forget.records import ModelSpec

VOCABULARY = 450  # wider than the tokenizer's, as padded vocabularies are


class Town(BaseModel):
    name: Literal["Dunholm", "Vell"]
    rivers: list[int] = Field(max_length=2)


@pytest.fixture
def compiler(untaught_folder: Path) -> SchemaCompiler:
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    return SchemaCompiler(tokenizer, VOCABULARY, [tokenizer.eos_token_id])


def test_any_way_through_the_mask_is_json_of_the_schema(compiler: SchemaCompiler, untaught_folder: Path) -> None:
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    mask = compiler.mask(Town, [""] * 20)
    draw = torch.Generator().manual_seed(0)
    replies: list[list[int]] = [[] for _ in range(20)]
    live = list(range(20))
    while live:
        logits = torch.randn(len(live), VOCABULARY, generator=draw)
        mask.apply(logits, live)
        for row, token in enumerate(logits.argmax(dim=1).tolist()):
            mask.accept(live[row], token)
            replies[live[row]].append(token)
        live = [reply for reply in live if replies[reply][-1] != tokenizer.eos_token_id]
    towns = [Town.model_validate_json(tokenizer.decode(ids[:-1])) for ids in replies]
    assert {town.name for town in towns} == {"Dunholm", "Vell"}
    assert {len(town.rivers) for town in towns} == {0, 1, 2}


def test_a_prefill_is_part_of_the_json(compiler: SchemaCompiler, untaught_folder: Path) -> None:
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    mask = compiler.mask(Town, ['{"name": "V', ""])
    logits = torch.zeros(2, VOCABULARY)
    mask.apply(logits, [0, 1])
    opened = {tokenizer.decode([token])[0] for token in (logits[0] == 0).nonzero()[:, 0].tolist()}
    fresh = {tokenizer.decode([token])[0] for token in (logits[1] == 0).nonzero()[:, 0].tolist()}
    assert opened == {"e"}
    assert fresh == {"{"}


def test_a_prefill_that_opens_no_such_json_is_refused(compiler: SchemaCompiler) -> None:
    with pytest.raises(DataError, match="no JSON of Town begins with 'Sure'"):
        compiler.mask(Town, ["", "Sure"])
