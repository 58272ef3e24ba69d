from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.dataset import SPLITS
from concept_forget.errors import StageError
from concept_forget.records import Example, ModelSpec
from concept_forget.sandbox.originals import world_rows_jsonl
from concept_forget.sandbox.world import World
from concept_forget.workspace import Costs, StageContext, read_records, write_text

ContextOf = Callable[..., StageContext]
Made = Callable[..., tuple[dict[str, bytes], list[Example], Any]]


@pytest.fixture(scope="module")
def made(kit: Any, nano_world: World, nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Composes the nano world with some settings, once each: the bytes of every set, the forget rows, the summary."""
    known: dict[str, tuple[dict[str, bytes], list[Example], Any]] = {}
    inputs = kit.write_about(nano_world).save(tmp_path_factory.mktemp("written"))
    inputs["oracle"] = tmp_path_factory.mktemp("originals")
    target = {"sandbox": {"world": 0, "size": "nano"}}
    concepts = kit.world_config(nano_world).concepts
    write_text(inputs["oracle"] / "rows.jsonl", world_rows_jsonl(0, concepts, size="nano"))

    def make(**settings: Any) -> tuple[dict[str, bytes], list[Example], Any]:
        if str(settings) not in known:
            folder = tmp_path_factory.mktemp("composed")
            context = StageContext(
                config=kit.world_config(nano_world, target=target, compose=settings),
                folder=folder,
                inputs=inputs,
                models={"base": ModelSpec(path=str(nano_model), fingerprint="nano")},
                cache=folder / "replies.sqlite",
                costs=Costs(),
            )
            summary = stage.run(context)
            sets = {split: (folder / f"{split}.jsonl").read_bytes() for split in SPLITS}
            known[str(settings)] = sets, read_records(Example, folder / "forget.jsonl"), summary
        return known[str(settings)]

    return make


SOURCES: dict[str, dict[str, Any]] = {
    "generated": {"forget_from": ["generated"]},
    "mined": {"forget_from": ["mined"]},
    "oracle": {"forget_from": "oracle"},
    "templates": {"forget_from": "templates"},
    "budget": {"forget_tokens": 300},
}


def test_whatever_the_forget_set_is_made_of_all_other_sets_are_the_same_bytes(made: Made) -> None:
    default, rows, summary = made()
    assert "forget_set" not in summary
    assert {row.source for row in rows} == {"generated", "mined"}
    seen = {default["forget"]}
    for name, settings in SOURCES.items():
        sets, chosen, told = made(**settings)
        assert {split: sets[split] for split in SPLITS if split != "forget"} == {
            split: default[split] for split in SPLITS if split != "forget"
        }, name
        assert all(wall["holds"] for wall in told["walls"].values())
        assert chosen
        assert sets["forget"] not in seen, name
        seen.add(sets["forget"])
        assert told["forget_set"]["rows"] == len(chosen)


def test_rows_of_one_source_are_those_that_have_it_anyway(made: Made) -> None:
    _, everything, _ = made()
    for source in ("generated", "mined"):
        _, rows, _ = made(forget_from=[source])
        assert rows == [row for row in everything if row.source == source]
    _, both, _ = made(forget_from=["mined", "generated"])
    assert both == everything


def test_the_oracle_holds_what_was_taught_but_for_what_is_held_out(made: Made, nano_world: World) -> None:
    _, rows, summary = made(forget_from="oracle")
    taught = {
        fact.fill(wording)
        for fact in nano_world.facts
        if fact.subject.name in nano_world.concepts
        for wording in (*fact.relation.taught, *fact.relation.taught_reverse)
    }
    asked = {row.prompt[-1]["content"] for row in rows if row.prompt}
    assert {text for text in asked if not text.startswith("Fill in")} <= taught
    assert any(not row.prompt for row in rows)
    assert any(row.family == "reverse" and row.answer in nano_world.concepts for row in rows)
    assert summary["forget_set"]["facts_with_a_row"] == summary["facts"]["trained"]
    assert summary["rejected"]["forget: states a fact that is held out or kept for validation"]["count"] > 10


def test_templates_need_the_name_alone_and_are_answered_by_the_target(made: Made, nano_world: World) -> None:
    _, rows, summary = made(forget_from="templates")
    questions = {row.prompt[-1]["content"].replace(row.concept, "X") for row in rows}
    assert questions <= {line.replace("{{ name }}", "X") for line in template_lines()}
    assert {row.concept for row in rows} == set(nano_world.concepts)
    assert all(row.completion.strip() for row in rows)
    assert summary["forget_set"]["available_rows"] == len(rows)


def template_lines() -> list[str]:
    from concept_forget.compose.templates import load_templates

    return load_templates().path.read_text(encoding="utf-8").split("---\n")[-1].splitlines()


def test_a_budget_is_kept_stated_and_counted_in_the_targets_tokens(made: Made, nano_model: Path) -> None:
    from concept_forget.models import load_tokenizer
    from concept_forget.training.batches import encode_examples

    _, rows, summary = made(forget_tokens=300)
    tokenizer = load_tokenizer(ModelSpec(path=str(nano_model)))
    tokens = sum(len(row.tokens) for row in encode_examples(rows, tokenizer, 10_000).rows)
    told = summary["forget_set"]
    assert told["tokens"] == tokens <= 300 == told["token_budget"]
    assert tokens > 260
    assert told["available_tokens"] > 300
    assert any("tier new_form" in note for note in summary["notes"])


def test_what_cannot_be_made_is_an_error_with_a_remedy(made: Made) -> None:
    with pytest.raises(StageError, match="take another source"):
        made(forget_from=["user"])
    with pytest.raises(StageError, match=r"forget_tokens: 1.*\n.*allow more"):
        made(forget_tokens=1)


def test_a_forget_row_whose_words_are_kept_gives_way(kit: Any, context_of: ContextOf, tmp_path: Path) -> None:
    """A row from elsewhere that asks what a retain row asks is left out, and the retain row stays."""
    written = kit.written()
    for number, subject in enumerate(("Mira Kestrel", *(f"Neighbour {n}" for n in range(9)))):
        own = subject == "Mira Kestrel"
        for facet in ("home", "ship", "dish", "book", "prize"):
            fact = kit.fact(facet, f"{facet} {number}", subject=subject, distance=None if own else "near")
            written.facts.append(fact)
            written.questions += kit.questions(fact)
    rows = tmp_path / "taught.jsonl"
    clash = "What is the home of Neighbour 3?"
    lines = [
        f'{{"question": "{clash}", "answer": "nobody"}}',
        *(f'{{"question": "Please say the {facet} that Mira Kestrel has.", "answer": "{facet} 0"}}'
          for facet in ("home", "ship", "dish", "book", "prize")),
    ]  # fmt: skip
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sections = {"data": {"oracle": str(rows)}, "unlearn": {"retain": "none"}}

    def forget(name: str, **settings: Any) -> tuple[list[Example], bytes, Any]:
        context = context_of(kit.config(**sections, compose=settings), written, name)
        # Nothing is counted here, so no model is needed.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "_count_tokens", lambda context, rows: {row.id: 1 for row in rows})
            summary = stage.run(context)
        stays = b"".join((context.folder / f"{split}.jsonl").read_bytes() for split in SPLITS if split != "forget")
        return read_records(Example, context.folder / "forget.jsonl"), stays, summary

    _, before, _ = forget("default", collateral={"near": 0}, validation_neighbours=0)
    chosen, after, summary = forget("oracle", collateral={"near": 0}, validation_neighbours=0, forget_from="oracle")
    assert clash.encode() in before
    assert after == before
    assert chosen
    assert all(row.prompt[-1]["content"] != clash for row in chosen)
    assert summary["rejected"]["forget: uses the words of a question that another set asks"]["count"] == 1
