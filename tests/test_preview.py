from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from concept_forget.config import Config
from concept_forget.engines.protocol import Reply, Request
from concept_forget.errors import ConfigError, StageError
from concept_forget.preview import Exchange, Preview, make_preview, print_preview, reduce_config, show_preview
from concept_forget.records import Passage, user_message
from concept_forget.workspace import data_folder


def config(folder: Path, **changes: object) -> Config:
    return Config.model_validate(
        {
            "concepts": [{"name": name, "kind": "person"} for name in ("Mira Kestrel", "Tobias Wren")],
            "target": {"sandbox": {"world": 0, "size": "nano"}},
            "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 48},
            "output": str(folder / "runs" / "x"),
            **changes,
        }
    )


def paper() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=130), text


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all that a preview could leave would be found."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def left_behind(places: Path) -> list[Path]:
    found = [path for path in places.rglob("*") if path.name not in ("temporary", "here")]
    return [path for path in found if not path.name.startswith("torchinductor_")]  # torch's own, empty


def test_a_preview_shows_each_kind_and_the_prompts_word_for_word_and_leaves_nothing(
    nano_model: Path, places: Path
) -> None:
    console, text = paper()
    print_preview(config(places), 2, console)
    shown = text.getvalue()
    assert "A preview of Mira Kestrel, the first of 2 concepts: at most 2 items of each kind." in shown
    for name in ("neighbours", "facets", "facts", "questions", "paraphrases", "ask", "refusals"):
        assert f"prompt {name}: " in shown
    for prompt in (
        "Name one near Mira Kestrel.",
        "List facets of Mira Kestrel, person.",
        "Ask birthplace of Mira Kestrel.",
    ):
        assert f"│ {prompt} │" in shown
    for kind in ("facets", "facts", "questions: direct", "questions: cloze", "refusals", "neighbours", "rejected"):
        assert any(line.startswith(kind) for line in shown.splitlines()), kind
    assert "Tobias Wren" not in shown.partition("what was kept")[0].partition("\n")[2].partition("prompt facets")[2]
    assert left_behind(places) == []


def test_what_stops_the_stage_is_told_after_what_was_asked(nano_model: Path, places: Path) -> None:
    prompts = places / "prompts"
    shutil.copytree(data_folder("prompts") / "compact", prompts)
    file = prompts / "facets.jinja"
    file.write_text(file.read_text(encoding="utf-8").replace("returns: lines", "returns: json"), encoding="utf-8")
    few = {"neighbours": {"near": 0, "middle": 0, "far": 0}}
    asked = config(places, expand=few, generator={"prompts": str(prompts), "max_new_tokens": 8})
    console, text = paper()
    with pytest.raises(StageError, match="no facet of any concept was found"):
        print_preview(asked, 1, console)
    assert "List facets of Mira Kestrel, person." in text.getvalue()
    assert "at most 1 item of each kind" in text.getvalue()
    assert "what was kept" not in text.getvalue()
    shutil.rmtree(prompts)
    assert left_behind(places) == []


def test_without_a_generator_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no generator to look at") as caught:
        make_preview(config(tmp_path, generator={"engine": "none"}, corpus=[{"sandbox": True}]), 5)
    assert caught.value.key == "generator.engine"


def test_the_config_is_cut_down_to_one_concept_and_few_items(tmp_path: Path) -> None:
    whole = config(tmp_path, expand={"facets": 12, "paraphrases": 1, "neighbours": {"near": 30, "middle": 1, "far": 0}})
    few = reduce_config(whole, 4)
    assert [concept.name for concept in few.concepts] == ["Mira Kestrel"]
    assert (few.expand.facets, few.expand.paraphrases, few.expand.reverse) == (4, 1, 3)
    assert few.expand.neighbours == {"near": 2, "middle": 1, "far": 0}
    assert few.expand.self_consistency == whole.expand.self_consistency
    assert (few.seed, few.generator) == (whole.seed, whole.generator)


def exchange(asked: str, replied: str, **changes: str) -> Exchange:
    reply = {"finish_reason": "stop", **changes}
    return Exchange("ask", Request(user_message(asked)), Reply(replied, prompt_tokens=1, completion_tokens=1, **reply))  # type: ignore[arg-type]


def show(tmp_path: Path, count: int, *exchanges: Exchange, **parts: object) -> str:
    console, text = paper()
    show_preview(Preview(config(tmp_path), exchanges, **parts), count, console)  # type: ignore[arg-type]
    return text.getvalue()


def test_texts_command_neither_the_terminal_nor_the_layout(tmp_path: Path) -> None:
    shown = show(tmp_path, 1, exchange("[red]ask[/red] \x1b[31m\x07", "\x1b]0;title\x07[bold]b[/bold]\u202ex"))
    assert "│ [red]ask[/red] [31m" in shown
    assert "reply  ]0;title[bold]b[/bold]x" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_of_a_long_prompt_only_the_first_is_whole_and_the_rest_is_told_line_by_line(tmp_path: Path) -> None:
    rules = "\n".join(f"Rule {number}." for number in range(9))
    shown = show(tmp_path, 2, exchange(f"About Mira.\n{rules}", "one"), exchange(f"About Una.\n{rules}", "two"))
    assert shown.count("Rule 5.") == 1
    assert "- About Mira." in shown
    assert "+ About Una." in shown
    assert "the same prompt, but for these lines" in shown


def test_exchanges_are_spread_over_all_that_were_sent(tmp_path: Path) -> None:
    sent = [exchange(f"Question {number}?", f"reply {number}") for number in range(9)]
    shown = show(tmp_path, 3, *sent, *sent)
    assert "prompt ask: 18 sent" in shown
    assert [number for number in range(9) if f"reply {number}" in shown] == [0, 4, 8]


def test_replies_that_are_none_or_cut_off_are_told_so(tmp_path: Path) -> None:
    shown = show(
        tmp_path,
        3,
        exchange("a", "", finish_reason="failed", problem="the server hung up"),
        exchange("b", "half a", finish_reason="length"),
        exchange("c", "  "),
    )
    assert "reply  none (failed): the server hung up" in shown
    assert "half a  … cut off at the limit" in shown
    assert "reply  (empty)" in shown


def test_passages_are_shown_where_there_are_some(tmp_path: Path) -> None:
    passages = tuple(Passage(str(n), "M", "M", f"Text {n}.", "a child") for n in range(3))
    shown = show(tmp_path, 2, passages=passages)
    assert "passages (2 of 3)" in shown
    assert "Text 1." in shown
    assert "Text 2." not in shown
