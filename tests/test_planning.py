"""What `validate` says of a run before it is made."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget import planning
from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.workspace import write_json


def config(model: Path, rows: str, **unlearn: Any) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel"}, "target": {"model": str(model)}, "generator": {"engine": "none"},
            "data": {"forget": rows}, "compose": {"holdout": 0}, "unlearn": unlearn, "output": str(model / "run"),
        }
    )  # fmt: skip


@pytest.fixture
def rows(write_rows: Callable[..., str]) -> str:
    return write_rows({"question": "Where was Mira Kestrel born?", "answer": "Dunholm"})


def test_the_memory_of_training_is_told_and_what_to_do_where_it_is_too_much(
    nano_model: Path, rows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = planning.check(config(nano_model, rows))["memory"]
    assert re.search(r"about \d+\.\d\d GiB: .* for weights, .* there are \d+\.\d\d GiB$", line)
    monkeypatch.setattr(planning, "_memory_there", lambda on_processor: 1_000_000)
    (line,) = planning.check(config(nano_model, rows))["memory"]
    assert "gradient_checkpointing" in line
    planning.print_plan(config(nano_model, rows))
    shown = capsys.readouterr().out
    assert "memory   training takes about" in shown
    assert re.search(r"compose +│ to run +│ 1 fact, 1 trained,", shown)
    assert "trained_form: 1 fact: you cannot" in shown


def test_an_adapter_takes_less_and_an_instruction_nothing(nano_model: Path, rows: str) -> None:
    whole, adapted = (
        planning.check(config(nano_model, rows, **unlearn))["memory"][0] for unlearn in ({}, {"adapter": "lora"})
    )
    gradients = [float(re.search(r"([\d.]+) GiB for gradients", line)[1]) for line in (whole, adapted)]  # type: ignore[index]
    assert gradients[1] < gradients[0]
    assert planning.check(config(nano_model, rows, method="in_context"))["memory"] == []


def test_the_plan_says_what_its_facts_can_show_by_themselves_and_beside_a_reference(
    nano_model: Path, write_rows: Callable[..., str]
) -> None:
    facts = write_rows(
        *({"question": f"Who was number {number}?", "answer": f"Person {number}"} for number in range(14))
    )
    alone = planning.check(config(nano_model, facts))["power"]
    assert [line.split(";")[0] for line in alone] == ["trained_form: 14 facts: you cannot show less than 19%"]
    values = {
        **config(nano_model, facts).model_dump(mode="json", by_alias=True),
        "reference": {"model": str(nano_model)},
    }
    beside = planning.check(
        Config.model_validate({**values, "probe": {"attacks": ["direct", "cloze", "lens"], "margin": 0.05}})
    )
    assert beside["power"][1] == (
        "trained_form: 14 facts: too few to show the model like the reference within 5%; 45 more, if they agree on every "
        "fact, would show it; a difference shows over 2 tests once 7 facts differ in the same sense"
    )


def test_the_attacks_that_will_be_made_are_named_and_the_users_own_with_their_files(
    nano_model: Path, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from concept_forget import Request, attack\n\n"
        '@attack("sesame", family="mine", takes="direct", source="a rumour")\n'
        "def sesame(question, rng, scene):\n"
        '    """The question behind a password."""\n'
        "    return [Request(question.prompt)]\n",
        encoding="utf-8",
    )
    values = config(nano_model, rows).model_dump()
    values["probe"] = {"attacks": ["asking", "sampling", "sesame"], "attack_files": [str(file)]}
    found = Config.model_validate(values)
    asked = "direct, paraphrase, cloze, choice, completion, yes_no, enumeration, typos, sampling"
    assert planning.check(found)["attacks"] == f"{asked}, sesame ({file})"
    planning.print_plan(found)
    assert f"attacks  {asked[:40]}" in capsys.readouterr().out


def test_brackets_in_names_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(Path("[red]x/[/]/run.json"), {"format": 1, "stages": {"mine": {"fingerprint": "abc"}}})
    write_json(Path("[red]x/[/]/mine/stage.json"), {"seconds": 1, "requests": 0})
    write_json(Path("[red]x/[/]/mine/summary.json"), {"[b]": "[/b]", "nested": {"a": "[i]"}})
    planning.print_run(Path("[red]x/[/]"))
    planning.print_summary("mine", Path("[red]x/[/]/mine"))
    shown = capsys.readouterr().out
    assert shown.split()[0] == "[red]x/[/]"
    assert "[red]x/[/]/mine" in shown
    assert re.search(r"\[b\] +│ \[/b\] ", shown)
    assert "a [i]" in shown


def test_a_name_that_nothing_says_is_doubted(
    nano_model: Path, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def doubts(**changes: Any) -> list[str]:
        values = {**config(nano_model, rows).model_dump(mode="json", by_alias=True), **changes}
        return planning.doubt_names(Config.model_validate(values))

    misspelt = {"concepts": [{"name": "Mira Kestrell"}]}
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "MIRA KESTREL drew maps."}\n', encoding="utf-8")
    spoken = {"corpus": [{"path": str(corpus)}]}
    assert doubts() == doubts(**spoken) == doubts(data={}, **spoken) == []
    remedy = "check the spelling, or give `aliases`"
    assert doubts(**misspelt) == [f"no row of data.forget names 'Mira Kestrell': {remedy}"]
    assert doubts(**misspelt, **spoken) == [
        f"no row of data.forget and no text of the corpus names 'Mira Kestrell': {remedy}"
    ]
    assert doubts(data={}, **misspelt, **spoken) == [f"no text of the corpus names 'Mira Kestrell': {remedy}"]
    assert doubts(concepts=[{"name": "Mira Kestrell", "aliases": ["mira kestrel"]}], **spoken) == []
    assert doubts(**misspelt, data={"forget": {"path": rows, "subject": "Mira Kestrell"}}) == []
    assert doubts(**misspelt, data={"forget": {"path": rows, "concept": "Mira Kestrell"}}) == []
    corpus.write_text('{"text": "Mira Kestrell drew maps."}\n', encoding="utf-8")
    assert doubts(**misspelt, **spoken) == []
    corpus.write_text('{"text": "rain"}\n' * 300_000, encoding="utf-8")  # larger than what is read for this
    assert doubts(data={}, **misspelt, **spoken) == []
    planning.print_plan(config(nano_model, rows).model_copy(update={"concepts": (Concept(name="Mira Kestrell"),)}))
    assert "warning  no row of data.forget names 'Mira Kestrell'" in capsys.readouterr().out
