"""Every command, config, row and piece of Python that the README and ``docs/`` show is tried here.

What a page shows in a block is run in order, through the command line's own front door, where its models and files are
the sandbox's: in the README's own words for the first concept; with the paths of a page laid out in the folder as the
page says; and with what cannot be had here replaced as ``SETTINGS`` says. ``NOT_HERE`` names what is only parsed.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from concept_forget import load_config
from concept_forget.cli import main
from concept_forget.config import DataConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.sandbox.recipe import Recipe
from concept_forget.sandbox.teach import documents_jsonl
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import build_world
from concept_forget.user_rows import read_rows
from concept_forget.workspace import read_json
from tests.benchmarks.conftest import write_parts, write_sets
from tests.docs.markdown import ROOT, Block, blocks, commands, inline_code, pages
from tests.docs.tables import find_command

PAGES = {str(page.relative_to(ROOT)): page for page in pages()}
OURS = re.compile(r"(?:\.venv/bin/)?concept-forget |.* -m concept_forget\.cli |ray job submit -- concept-forget ")
NAMED = re.compile(r"# (\S+\.yaml)\n")
NOT_HERE = re.compile(r"make |pip install |ray |accelerate ")
"""Makes an environment, joins a cluster, or needs accelerators: parsed, not run."""

WORKPLACE = ("docs/run.md", "docs/expand.md", "docs/mine.md", "docs/compose.md", "docs/unlearn.md", "docs/probe.md",
             "docs/report.md", "docs/several-runs.md", "docs/sandbox.md", "docs/benchmarks.md")  # fmt: skip
"""Pages whose commands are about one finished run, in the order in which they are run."""
ALONE = ("README.md", "docs/guides/person.md", "docs/guides/topic.md", "docs/guides/book.md")
"""Pages that begin from nothing."""
PARSED = ("docs/README.md", "docs/several-machines.md")
"""Pages that show nothing that can be run here."""

HERE = 'generator={"engine": "target", "prompts": "compact", "max_new_tokens": 48}'
SMALL = ('expand.neighbours={"near": 6, "middle": 3, "far": 3}', 'compose.collateral={"near": 2, "middle": 1, "far": 1}',
         "compose.validation_neighbours=1", "unlearn.max_steps=10", "unlearn.learning_rate=1.0e-3")  # fmt: skip
QUICK = ("mine.cascade=none", "mine.precision=float32")
SETTINGS: dict[str, tuple[str, ...]] = {
    "README.md": ("unlearn.max_steps=10",),
    "docs/guides/person.md": ("unlearn.max_steps=10", "probe.sampling.samples=2"),
    "docs/guides/topic.md": (
        'concept={"name": "Mira Kestrel", "kind": "person"}',  # what the sandbox's model knows
        HERE, *SMALL, *QUICK, "probe.engine=transformers", "probe.attacks=[direct, prefix_injection]",
        "expand.facets=5", "expand.facts_per_facet=1",
    ),
    "docs/guides/book.md": ('concept={"name": "Tidewrack", "kind": "book"}', HERE, *SMALL, *QUICK, "execution={}"),
}  # fmt: skip
"""What a config of a page is overridden with, besides its corpus in a store."""

MUCH = ("unlearn.strangers=1", "probe.attacks=[direct, search, membership, lens, memory]", "probe.search.requests=2",
        "probe.search.population=2")  # fmt: skip
"""What makes a run leave most of the files that there are."""

SMALLER = Recipe(hidden=96, layers=2, heads=4, intermediate=256, epochs=20)
"""What the README's rows are taught to here: half the model."""

BASE = {
    "concept": {"name": "Mira Kestrel", "kind": "person"},
    "target": {"sandbox": {"world": 0, "size": "nano"}},
    "generator": {"engine": "target", "prompts": "compact", "max_new_tokens": 48},
}
"""What a block that is a part of a config is a part of."""

LESSONS = Lessons(build_world(0, "nano"), load_prompts("compact"))


def shown(name: str, language: str) -> list[Block]:
    return [block for block in blocks(PAGES[name]) if block.language == language]


def lines_of(name: str) -> list[str]:
    return [line for block in shown(name, "sh") for line in commands(block)]


def words_of(line: str) -> list[str]:
    """The arguments of a call of this program, however it is launched."""
    found = OURS.match(line)
    return shlex.split(line[found.end() :], comments=True) if found else []


def parse(words: list[str]) -> None:
    """Read a call's options, as the program would: an unknown one, or a choice that is none, is an error."""
    names = words[:2] if words[0] in ("sandbox", "bench") else words[:1]
    find_command(*names).make_context(names[-1], words[len(names) :])


def call(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["concept-forget", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def overriding(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def run_page(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> None:
    """Run what a page shows, in order, in the current folder; a block that is a config is saved under its name."""
    configs = set()
    for block in blocks(PAGES[name]):
        if block.language == "yaml" and (named := NAMED.match(block.text)):
            Path(named[1]).write_text(block.text, encoding="utf-8")
            configs.add(named[1])
        for line in commands(block) if block.language == "sh" else ():
            words = words_of(line)
            if NOT_HERE.match(line):
                continue
            if configs & set(words):
                words += overriding((*SETTINGS[name], *more))
            code = call(words, monkeypatch)
            output = capsys.readouterr()
            assert code in ((0, 1) if "--gate" in words else (0,)), f"{name}: {line}\n{output.out}\n{output.err}"


def rows_about(*people: str) -> list[dict[str, Any]]:
    return [
        {"question": LESSONS.ask(fact.fill(fact.relation.taught[0])), "answer": fact.answer, "subject": name,
         "paraphrases": [LESSONS.ask(fact.fill(wording)) for wording in fact.relation.taught[1:4]],
         "facet": fact.relation.name}
        for name in people for fact in LESSONS.world.facts_of(name)
    ]  # fmt: skip


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def documents(*about: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in documents_jsonl(0, size="nano").splitlines()]
    return [row for row in rows if not about or any(name in row["text"] for name in about)]


# --- what is shown can be read ---


def test_every_page_is_run_or_shows_nothing_to_run() -> None:
    assert sorted(PAGES) == sorted([*WORKPLACE, *ALONE, *PARSED])
    ours = [line for name in PARSED for line in lines_of(name) if OURS.match(line) and not NOT_HERE.match(line)]
    assert ours == []
    languages = {block.language for name in PAGES for block in blocks(PAGES[name])}
    assert languages == {"sh", "yaml", "python", "json"}


@pytest.mark.parametrize("name", PAGES)
def test_every_command_line_is_one_that_there_is(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for line in lines_of(name):
        words = words_of(line)
        if words:
            parse(words)
        if line.startswith("make "):
            assert line.split()[1] in targets
        elif line.startswith("pip install "):
            assert set(re.search(r"\[(.+)\]", line)[1].split(",")) <= set(extras)  # type: ignore[index]  # it has one
        elif line.startswith("accelerate "):
            assert (ROOT / shlex.split(line)[3]).is_file()
        else:
            assert words or line.startswith("ray start "), line


@pytest.mark.parametrize("name", PAGES)
def test_a_call_within_a_sentence_is_one_though_it_may_be_the_half_of_it(name: str) -> None:
    calls = [line for line in inline_code(PAGES[name]) if OURS.match(line) and "…" not in line]
    assert [line for line in calls if not _fits(line)] == []


def _fits(line: str) -> bool:
    try:
        parse(words_of(line))
    except Exception as error:
        return type(error).__name__ == "MissingParameter"
    return True


@pytest.mark.parametrize("name", PAGES)
def test_every_config_loads_and_every_part_of_one_fits_into_one(name: str, tmp_path: Path) -> None:
    for number, block in enumerate(shown(name, "yaml")):
        file = tmp_path / f"{number}.yaml"
        part = yaml.safe_load(block.text)
        file.write_text(block.text if NAMED.match(block.text) else yaml.safe_dump(BASE | part), encoding="utf-8")
        assert load_config(file).concepts


@pytest.mark.parametrize("name", PAGES)
def test_every_row_is_one(name: str, tmp_path: Path) -> None:
    for block in shown(name, "json"):
        (tmp_path / "rows.jsonl").write_text(block.text, encoding="utf-8")
        rows = read_rows(DataConfig.model_validate({"forget": str(tmp_path / "rows.jsonl")}).forget, "data.forget")
        assert len(rows) == len(block.text.splitlines())


# --- what is shown runs ---


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which commands are run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_first_concept_comes_to_a_report(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("concept_forget.sandbox.teach.ROWS_RECIPE", SMALLER)
    shutil.copytree(ROOT / "docs" / "examples", empty / "docs" / "examples")
    run_page("README.md", monkeypatch, capsys)
    assert (empty / "runs" / "mira-kestrel" / "report" / "report.html").is_file()
    assert (
        read_json(empty / "runs" / "mira-kestrel" / "report" / "metrics.json")["verdict"]["outcome"] == "inconclusive"
    )
    assert call(["show", "runs/mira-kestrel"], monkeypatch) == 0
    assert capsys.readouterr().out.endswith("\nreport   runs/mira-kestrel/report/report.html\n")
    (block,) = shown("README.md", "python")
    text = Path("concept.yaml").read_text(encoding="utf-8").replace("max_steps: 60", "max_steps: 10")
    Path("concept.yaml").write_text(text, encoding="utf-8")
    exec(compile(block.text, "README.md", "exec"), {})
    assert "inconclusive" in capsys.readouterr().out


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """A folder with a corpus, models, and a config whose run is finished."""
    folder = tmp_path_factory.mktemp("workplace")
    write_lines(folder / "data" / "town.jsonl", documents())
    write_lines(folder / "rows.jsonl", rows_about("Mira Kestrel")[:2])
    (folder / "models").mkdir()
    (folder / "models" / "one").symlink_to(nano_model)
    config = {**BASE, "target": "models/one", "corpus": ["data/*.jsonl"], "output": "runs/mira-kestrel"}
    (folder / "concept.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        assert call(["run", "concept.yaml"], patch) == 0
    return folder


def enter(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go into the folder; every config is overridden before a command's own ``--set``."""
    before = (*SMALL, *MUCH)
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("concept_forget.cli._load", lambda file, more: load_config(file, [*before, *(more or ())]))


def files_told() -> Iterator[str]:
    """The files that the pages list, as paths within a run."""
    for name in WORKPLACE:
        stage = Path(name).stem
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line.startswith(f"| `{stage}/"):
                paths = re.findall(r"`([^`]+)`", line.split(" | ")[0])
                yield from (f"{stage}/{path.removeprefix(f'{stage}/')}" for path in paths)


def test_every_file_that_a_run_leaves_is_told_of(workplace: Path) -> None:
    told = {path.rstrip("/") for path in files_told()}
    left = set()
    for stage in ("expand", "mine", "compose", "unlearn", "probe", "report"):
        found = os.listdir(workplace / "runs" / "mira-kestrel" / stage)
        left |= {f"{stage}/{path}" for path in found if path != "stage.json"}
    assert left - told == set()
    assert told - left == {"unlearn/adapter", "unlearn/guesses.json"}  # of other methods


def test_the_pages_of_the_verbs_run_on_a_finished_run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(workplace, monkeypatch)
    monkeypatch.setattr("concept_forget.sandbox.teach.ROWS_RECIPE", SMALLER)
    sets = {"tofu": str(write_sets(workplace / "sets")), "wmdp": str(write_parts(workplace / "sets"))}
    for name in WORKPLACE:
        for line in lines_of(name):
            words = words_of(line)
            if words[0] == "bench":  # on the hub, or in copies
                words += ["--data", sets[words[1]]]
            if words[0] in ("probe", "bench"):
                words = ["models/one" if word == "models/other" else word for word in words]
            assert call(words, monkeypatch) == int("--gate" in words), f"{name}: {line}\n{capsys.readouterr().err}"
    assert {path.name for path in workplace.glob("runs/*")} >= {"mira-kestrel", "simnpo", "mira-kestrel.bundle.zip"}


def test_an_attack_of_the_users_is_one(
    empty: Path, nano_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (attack,) = shown("docs/probe.md", "python")
    (empty / "my_attacks.py").write_text(attack.text, encoding="utf-8")
    (part,) = [yaml.safe_load(block.text) for block in shown("docs/probe.md", "yaml") if "my_attacks" in block.text]
    (empty / "concept.yaml").write_text(yaml.safe_dump(BASE | part), encoding="utf-8")
    assert call(["validate", "concept.yaml"], monkeypatch) == 0
    assert "sesame (my_attacks.py)" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def guide(empty: Path, nano_model: Path) -> Path:
    """A folder with the paths that the guides name."""
    for place in ("models/assistant", "models/base", "models/writer", "shared/models/target", "shared/models/writer"):
        (empty / place).parent.mkdir(parents=True, exist_ok=True)
        (empty / place).symlink_to(nano_model)
    return empty


def test_the_guide_to_a_person_runs(
    guide: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = [person.name for person in LESSONS.world.people]
    write_lines(guide / "request" / "rows.jsonl", rows_about(people[0]))
    write_lines(guide / "request" / "others.jsonl", rows_about(*people[4:9]))
    write_lines(guide / "request" / "watched.jsonl", rows_about(*people[10:12]))
    write_lines(guide / "finetuning" / "rows.jsonl", documents())
    run_page("docs/guides/person.md", monkeypatch, capsys)
    assert (guide / "runs" / "erasure" / "unlearn" / "model" / "model.safetensors").is_file()
    assert "Mira Kestrel" in (guide / "leaks.jsonl").read_text(encoding="utf-8")


def test_the_guide_to_a_topic_runs(
    guide: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(guide / "corpus" / "papers" / "all.jsonl", documents())
    write_parts(guide / "wmdp")
    run_page("docs/guides/topic.md", monkeypatch, capsys)
    assert (guide / "bench" / "after" / "metrics.json").is_file()


def test_the_guide_to_a_book_runs_from_an_object_store(
    guide: Path,
    serve_objects: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(f"AWS_{name}", value)
    write_lines(guide / "shared" / "book" / "chapters.jsonl", documents("Tidewrack"))
    lines = "".join(json.dumps(row) + "\n" for row in documents()).encode()
    with serve_objects({"corpus/all.jsonl.gz": gzip.compress(lines)}) as store:
        run_page("docs/guides/book.md", monkeypatch, capsys, f"corpus=[{store.address('corpus/*.jsonl.gz')!r}]")
    probed = (guide / "shared" / "runs" / "book" / "probe" / "attempts.jsonl").read_text(encoding="utf-8")
    assert '"attack": "completion"' in probed
