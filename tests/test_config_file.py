from __future__ import annotations

import time
from pathlib import Path

import pytest

from concept_forget.config import Config
from concept_forget.config_file import load_config
from concept_forget.errors import ConfigError

GOOD = "concept: {name: Mira Kestrel}\ntarget: some/model\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_short_config_gets_every_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.concepts[0].name == "Mira Kestrel"
    assert config.target.model == "some/model"
    assert config.unlearn == Config.model_fields["unlearn"].get_default(call_default_factory=True)


def test_a_set_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "unlearn: {beta: 0.3}\n")
    assert load_config(path).unlearn.beta == 0.3
    assert load_config(path, ["unlearn.beta=0.7"]).unlearn.beta == 0.7
    assert load_config(path, ["concept.aliases=[M. Kestrel]"]).concepts[0].aliases == ("M. Kestrel",)
    assert load_config(path, ["target.sandbox.world=3", "target.model=null"]).target.sandbox is not None


def test_variables_are_filled_in_and_only_they(tmp_path: Path) -> None:
    path = write(tmp_path, "vars: {where: here}\nconcept: {name: A}\ntarget: ${vars.where}/model\n")
    assert load_config(path).target.model == "here/model"
    assert load_config(path, ["vars.where=there"]).target.model == "there/model"


def test_several_concepts_are_read_in_order(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "concepts: [{name: B}, {name: A}]\ntarget: m\n"))
    assert [concept.name for concept in config.concepts] == ["B", "A"]


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (GOOD + "unlern: {}\n", 3, "unlern", "did you mean 'unlearn'"),
        (GOOD + "unlearn:\n  bta: 1\n", 4, "unlearn.bta", "did you mean 'beta'"),
        (GOOD + "unlearn: {beta: hot}\n", 3, "unlearn.beta", "found 'hot'"),
        (GOOD + "unlearn: {method: grad_ascent, strangers: 1}\n", 3, "unlearn", "`strangers` go among the retain rows"),
        (GOOD + "unlearn:\n  beta: -1\n", 4, "unlearn.beta", "greater than 0"),
        (GOOD + "probe: {attacks: [dirct]}\n", 3, "probe.attacks", "names of attacks"),
        (GOOD + "probe: {attacks: [dirct]}\n", 3, "probe.attacks", "did you mean 'direct'"),
        (GOOD + "probe: {attacks: persuade}\n", 3, "probe.attacks", "did you mean 'persuading'"),
        (GOOD + "probe: {attacks: 7}\n", 3, "probe.attacks", "names of attacks"),
        ("concept: {name: A}\nconcept: {name: B}\ntarget: m\n", 2, "concept", "stands twice"),
        ("concept: {name: A\ntarget: m\n", 2, None, "not YAML"),
        ("concept: {name: A}\n\ttarget: m\n", 2, None, "not YAML"),
        ("", 1, None, "empty"),
        ("- a\n- b\n", 1, None, "mapping of sections"),
        ("target: m\n", None, "concept", "missing"),
        ("concept: {name: A}\n", None, "target", "add it, as in `target: path/to/model`"),
        ("concept: {name: A}\ntarget:\n", 2, "target", "nothing stands here\n  → add it, as in `target:"),
        ("concept: {name: A}\ntarget: [m]\n", 2, "target", "keys with values are wanted; found a list"),
        ("concept: {name: A, kind: 2024-01-01}\ntarget: m\n", 1, "concept.kind", "write it in quotes"),
        ("concept: {name: A, aliases: }\ntarget: m\n", 1, "concept.aliases", "leave the key out"),
        ('concept: {name: A, aliases: "a, b"}\ntarget: m\n', 1, "concept.aliases", "write a list: [a, b]"),
        ("concepts: {name: A}\ntarget: m\n", 1, "concepts", "write a list: [{name: A}]"),
        ("concepts: A, B\ntarget: m\n", 1, "concepts", "write a list: [{name: A}, {name: B}]"),
        ("concepts: []\ntarget: m\n", 1, "concepts", "the list should have at least 1 item, not 0"),
        (GOOD + "corpus: docs/*.jsonl\n", 3, "corpus", "a list is wanted; found 'docs/*.jsonl'"),
        (GOOD + "corpus: docs/*.jsonl\n", 3, "corpus", "write a list: [docs/*.jsonl]"),
        (GOOD + "corpus: '*.jsonl'\n", 3, "corpus", "write a list: ['*.jsonl']"),
        (GOOD + f"corpus: {'x' * 200}\n", 3, "corpus", "every entry behind a dash"),
        (GOOD + "data: {forget: {path: r, rows: 0-12}}\n", 3, "data.forget.rows", "write a list: [0, 12]"),
        (GOOD + "data: {forget: {path: r, rows: [0]}}\n", 3, "data.forget.rows", "an entry is missing"),
        (GOOD + "output:\n", 3, "output", "a path is wanted; found nothing"),
        (GOOD + "report: {redact: 'A, B'}\n", 3, "report.redact", "write a list: [A, B]"),
        (GOOD + "report: {redact: [1]}\n", 3, "report.redact.0", "text is wanted; found 1"),
        (GOOD + "vars: {a: {b: 1}}\n", 3, "vars.a", "text is wanted; found keys with values"),
        (GOOD + "probe: {attacks: 'direct, reverse'}\n", 3, "probe.attacks", "write a list: [direct, reverse]"),
        (GOOD + "output: ${oc.env:HOME}\n", 3, "output", "not allowed"),
        (GOOD + "output: ${vars.place}\n", 3, "output", "has no value"),
        ("concept: {name: A}\ntarget: {sandbox: {world: 0, teach: x}}\n", 2, "target.sandbox", "either"),
        ("concept: {name: A}\ntarget: {model: m, sandbox: {world: 0}}\n", 2, "target", "either"),
        ("concept: {name: A}\nconcepts: [{name: B}]\ntarget: m\n", 1, None, "not both"),
        ("concepts: [{name: A}, {name: a}]\ntarget: m\n", 1, None, "same name"),
        (GOOD + "seed: 2024-01-01\n", 3, "seed", "valid integer"),
        (GOOD + "generator: {engine: transformers}\n", 3, "generator", "needs `model"),
        (GOOD + "generator: {engine: vllm}\n", 3, "generator", "needs `model"),
        (GOOD + "generator: {engine: target, model: m}\n", 3, "generator", "`model` goes with"),
        (GOOD + "generator: {engine: openai, model: m}\n", 3, "generator", "`base_url` goes with"),
        (GOOD + "generator: {engine: vllm, model: m, base_url: http://h/v1}\n", 3, "generator", "`base_url` goes with"),
        (
            GOOD + "generator: {engine: openai, model: m, base_url: http://a:b@h/v1}\n",
            3,
            "generator.base_url",
            "holds a key",
        ),
        (GOOD + "generator: {engine: openai, model: m, base_url: h/v1}\n", 3, "generator.base_url", "match"),
        (
            GOOD + "generator: {engine: openai, model: m, base_url: http://h, revision: x}\n",
            3,
            "generator",
            "server's own",
        ),
        (GOOD + "data: {forget: {path: rows.jsonl, rows: [5, 2]}}\n", 3, "data.forget", "FIRST < END"),
        (GOOD + "compose: {holdout: 0.6, validation: 0.5}\n", 3, "compose", "no fact to train on"),
        (GOOD + "probe: {samples: 4}\n", 3, "probe", "temperature"),
        (GOOD + "probe: {relearn_steps: [30, 10]}\n", 3, "probe", "have to rise"),
        (GOOD + "probe: {attacks: cloze, dose_response: true}\n", 3, "probe", "name that attack too"),
    ],
)
def test_a_mistake_is_named_with_file_line_key_and_remedy(
    tmp_path: Path, text: str, line: int | None, key: str | None, words: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    error = caught.value
    assert error.file == str(path)
    assert error.line == line
    assert error.key == key
    assert words.casefold() in str(error).casefold()
    assert error.remedy


@pytest.mark.parametrize(
    "text",
    [
        "concept: {name: A, knd: person}\ntarget: m\n",
        "concept: {name: 2024}\ntarget: m\n",
        "concept: {name: }\ntarget: m\n",
        'concept: {name: A, aliases: "Mira, M. K."}\ntarget: m\n',
        "concepts: [{name: A}, {name: B, knd: person}]\ntarget: m\n",
        GOOD + "report: {redact: maybe}\n",
        GOOD + "report: {redact: [1, 2]}\n",
        GOOD + "vars: {a: [1]}\n",
        GOOD + "compose: {forget_from: generated}\n",
    ],
)
def test_one_mistake_is_counted_once(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert "more mistake" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (GOOD + "report: {redact: maybe, titel: x}\n", "1 more mistake after"),
        ("concept: {name: A, knd: 1, alias: 2, aliases: 3}\ntarget: m\n", "2 more mistakes after"),
        (GOOD + "seed: x\nunlearn: {beta: x}\noutput: 7\nvars: {a: [1], b: [2]}\n", "4 more mistakes after"),
    ],
)
def test_other_mistakes_are_counted(tmp_path: Path, text: str, count: str) -> None:
    with pytest.raises(ConfigError, match=count):
        load_config(write(tmp_path, text))


def test_a_bare_header_is_its_defaults(tmp_path: Path) -> None:
    bare = "corpus:\ndata:\nexpand:\n  gates:\n  neighbours:\nunlearn:\nprobe:\n  relearn_steps:\nreport:\nvars:\n"
    plain = load_config(write(tmp_path, GOOD)).model_dump()
    assert load_config(write(tmp_path, GOOD), ["report="]).model_dump() == plain
    assert load_config(write(tmp_path, GOOD + bare)).model_dump() == plain
    with pytest.raises(ConfigError, match="valid integer; found nothing"):
        load_config(write(tmp_path, GOOD + "seed:\n"))


@pytest.mark.parametrize(
    ("text", "override", "place", "words"),
    [
        ("", "report.redact=maybe", "--set report.redact=maybe", "true or false is wanted, or a list; found 'maybe'"),
        ("", "output=", "--set output=", "a path is wanted; found nothing"),
        ("", "unlern.beta=3", "--set unlern.beta=3", "did you mean 'unlearn'"),
        ("", "unlearn.stop=reference", "--set unlearn.stop=reference", "needs a `reference`"),
        ("", "output=${vars.x}", "--set output=${vars.x}", "has no value"),
        ("report: {redact: true}\n", "report.redact=[1]", "--set report.redact=[1]", "text is wanted"),
        ("", "generator.base_url=http://a:secret@h", "--set generator.base_url=…", "the address holds a key"),
        ("", f"seed={'x' * 200}", "--set seed=…", "valid integer"),
        ("probe: {attacks: [direct]}\n", "probe.attacks.0=dirct", "FILE", "(with `--set probe.attacks.0=dirct`)"),
        ("unlearn: {method: grad_ascent}\n", "unlearn.strangers=1", "FILE", "(with `--set unlearn.strangers=1`)"),
    ],
)
def test_what_a_set_gave_is_not_blamed_on_a_line(
    tmp_path: Path, text: str, override: str, place: str, words: str
) -> None:
    path = write(tmp_path, GOOD + text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    assert (caught.value.file, caught.value.line) == (str(path) if place == "FILE" else place, None)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("unlearn.beta", "cannot read"),
        ("=3", "cannot read"),
        ("unlearn..beta=3", "cannot read"),
        ("unlearn.beta=[", "not YAML"),
        ("concept.name.first=A", "holds no keys"),
        ("unlearn.bta=3", "did you mean 'beta'"),
    ],
)
def test_a_mistake_in_a_set_is_named(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, GOOD), [override])


def test_an_absent_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_a_file_that_is_no_text_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"concept: {name: A}\ntarget: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load_config(path)
    assert caught.value.line == 2


def test_a_file_too_deep_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested deeper"):
        load_config(write(tmp_path, GOOD + "report: " + "{a: " * 30 + "1" + "}" * 30 + "\n"))
    with pytest.raises(ConfigError, match="bytes"):
        load_config(write(tmp_path, GOOD + "#" * 1_100_000))


DEEP = ("[" * 100_000, "{a: " * 20_000, "? " * 50_000, "a: &a {b: *a}", "&a [*a]")


@pytest.mark.parametrize("text", DEEP, ids=["lists", "mappings", "keys", "alias to itself", "list of itself"])
def test_no_depth_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="nested deeper than 20 levels"):
        load_config(write(tmp_path, text))
    with pytest.raises(ConfigError, match="nested deeper than 20 levels") as caught:
        load_config(write(tmp_path, GOOD), [f"seed={text}"])
    assert caught.value.key == "seed"


def test_a_variable_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be filled in") as caught:
        load_config(write(tmp_path, GOOD + 'vars: {a: "${vars.b}", b: "${vars.a}"}\noutput: ${vars.a}\n'))
    assert (caught.value.key, caught.value.line) == ("vars.a", GOOD.count("\n") + 1)


@pytest.mark.parametrize("value", ["2024-99-99", "{", "&a [*b]", "!!python/name:os.system"])
def test_a_value_on_the_command_line_is_read_within_the_same_bounds(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="the value of `--set output=") as caught:
        load_config(write(tmp_path, GOOD), [f"output={value}"])
    assert caught.value.remedy


def test_aliases_cannot_blow_a_config_up(tmp_path: Path) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
    with pytest.raises(ConfigError, match="aliases"):
        load_config(write(tmp_path, bomb))


def test_code_in_a_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(write(tmp_path, "concept: !!python/object/apply:os.getcwd []\ntarget: m\n"))


TAGS = ("!!int ''", "!!float ''", "!!bool foo", "!!timestamp foo", "!!binary aGVsbG8=", "!!null x", "!!str x", "! x")


@pytest.mark.parametrize("value", [*TAGS, "!!map {}", "!!set {a}", "!!python/name:os.system"])
def test_every_tag_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    for text in (f"seed: {value}\n", f"report: {{title: [{value} ]}}\n"):
        with pytest.raises(ConfigError, match=r"the tag '.*' cannot be read") as caught:
            load_config(write(tmp_path, GOOD + text))
        assert caught.value.line == 3
        assert caught.value.remedy


@pytest.mark.parametrize(
    "value",
    [
        *("0x" + "f" * 20_000, "0" + "7" * 20_000, "0b" + "1" * 40_000, "9" * 20_000, "1" + ":1" * 200_000),
        *("1." + "1" * 99, "1_" * 50 + "1.5", "-" + "1" * 100),
    ],
    ids=lambda value: value[:4],
)
def test_a_number_of_no_end_is_refused_unread(tmp_path: Path, value: str) -> None:
    started = time.process_time()
    with pytest.raises(ConfigError, match=f"the number has {len(value):,} characters") as caught:
        load_config(write(tmp_path, f"{GOOD}seed: {value}\n"))
    assert (caught.value.key, caught.value.line) == ("seed", 3)
    assert time.process_time() - started < 5, "read digit by digit the longest takes twelve seconds"


@pytest.mark.parametrize("value", ["2024-99-99", "2024-01-01T00:00:00+99:99", "<<", "0x_", "0b_"])
def test_a_value_that_yaml_cannot_make_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r":3: seed: this value cannot be read"):
        load_config(write(tmp_path, f"{GOOD}seed: {value}\n"))


@pytest.mark.parametrize(
    ("key", "line"),
    [("target.model", 2), ("probe.threshold", 4), ("probe.samples", 3), ("mine.top_k", None), ("", None)],
)
def test_an_error_that_knows_its_key_alone_gets_the_place(tmp_path: Path, key: str, line: int | None) -> None:
    path = write(tmp_path, GOOD + "probe:\n  threshold: 0.1\n")
    with pytest.raises(ConfigError) as caught, load_config(path).naming_places():
        raise ConfigError("it cannot be", key=key)
    assert (caught.value.file, caught.value.line) == ((str(path), line) if key else (None, None))
    assert str(caught.value).startswith(f"{path}:{line}: {key}" if line else f"{path}: {key}" if key else "it cannot")


def test_a_place_that_is_known_already_stays(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught, load_config(write(tmp_path, GOOD)).naming_places():
        raise ConfigError("it cannot be", key="target", file="rows.jsonl", line=7)
    assert (caught.value.file, caught.value.line) == ("rows.jsonl", 7)


def test_a_key_from_a_set_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught, load_config(write(tmp_path, GOOD), ["target.model=n"]).naming_places():
        raise ConfigError("it cannot be", key="target.model")
    assert (caught.value.file, caught.value.line) == ("--set target.model=n", None)
