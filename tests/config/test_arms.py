from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concept_forget import load_config
from concept_forget.config import Config
from concept_forget.config.arms import ArmError, arms_of
from concept_forget.errors import ConfigError

WORLD = "concept: {name: Mira Kestrel}\ntarget: {sandbox: {world: 0}}\nreference: {sandbox: {world: 0}}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(WORLD + text, encoding="utf-8")
    return load_config(path, overrides)


def test_every_arm_is_run_in_every_world_and_differs_in_its_settings_alone(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "unlearn: {beta: 0.3}\noutput: runs/x\n"
        "compare: {worlds: [3, 4], arms: {as-is: {}, other: {unlearn.method: rmu, unlearn.beta: null}}}\n",
    )
    arms = list(arms_of(config))
    assert [(arm.name, arm.repetition) for arm in arms] == [
        ("as-is", "world-3"), ("other", "world-3"), ("as-is", "world-4"), ("other", "world-4"),
    ]  # fmt: skip
    for arm in arms:
        assert arm.config.output == Path("runs/x") / arm.name / arm.repetition
        assert arm.config.target.sandbox is not None
        assert arm.config.reference is not None
        assert arm.config.reference.sandbox is not None
        assert f"world-{arm.config.target.sandbox.world}" == arm.repetition
        assert f"world-{arm.config.reference.sandbox.world}" == arm.repetition
        assert arm.config.compare is None
    methods = [(arm.config.unlearn.method, arm.config.unlearn.beta) for arm in arms]
    assert methods == [("npo", 0.3), ("rmu", None)] * 2
    same: dict[str, Any] = {"compare": None, "output": Path(), "target": config.target, "reference": config.reference}
    assert arms[0].config.model_copy(update=same) == config.model_copy(update=same)


def test_over_repeats_with_settings_of_any_kind_and_without_it_there_is_one_run(tmp_path: Path) -> None:
    over = load(tmp_path, "compare: {over: [{seed: 1}, {seed: 2, concepts.0.name: Ann Ash}], arms: {a: {}}}\n")
    arms = list(arms_of(over))
    assert [(arm.repetition, arm.config.seed, arm.config.concepts[0].name) for arm in arms] == [
        ("1", 1, "Mira Kestrel"),
        ("2", 2, "Ann Ash"),
    ]
    assert [arm.repetition for arm in arms_of(load(tmp_path, "compare: {arms: {a: {}}}\n"))] == ["1"]


def test_a_set_reaches_every_arm_and_an_arms_own_setting_wins(tmp_path: Path) -> None:
    config = load(tmp_path, "compare: {arms: {a: {}, b: {unlearn.max_steps: 7}}}\n", "unlearn.max_steps=3")
    assert [arm.config.unlearn.max_steps for arm in arms_of(config)] == [3, 7]


REFUSED = {
    "an unknown key in an arm": (
        "compare:\n  arms:\n    a: {}\n    b:\n      unlearn.bta: 1\n",
        8, "compare.arms.b.unlearn.bta", "did you mean 'beta'",
    ),
    "a value out of bounds in an arm": (
        "compare:\n  arms:\n    b:\n      unlearn.max_steps: 9\n      unlearn.beta: -1\n",
        8, "compare.arms.b.unlearn.beta", "greater than 0",
    ),
    "settings that do not go together": (
        "unlearn: {beta: 1}\ncompare:\n  arms:\n    b: {unlearn.method: rmu}\n",
        7, "compare.arms.b.unlearn.method", "`beta` goes with",
    ),
    "a value where a section is needed": (
        "compare:\n  arms:\n    b: {seed.unlearn: 1}\n", 6, "compare.arms.b.seed.unlearn", "valid integer",
    ),
    "a key below a value": (
        "seed: 3\ncompare:\n  arms:\n    b: {seed.unlearn: 1}\n", 7, "compare.arms.b.seed.unlearn", "holds no key",
    ),
    "an output of its own": ("compare:\n  arms:\n    b: {output: x}\n", 6, "compare.arms.b.output", "not for an arm"),
    "no key at all": ("compare:\n  arms:\n    b: {unlearn..beta: 1}\n", 6, "compare.arms.b.unlearn..beta", "no key"),
    "a name that is no folder": ("compare:\n  arms:\n    a/b: {}\n", 6, "compare.arms.a/b", "folder's"),
    "a name that hides": ("compare:\n  arms:\n    .b: {}\n", 6, "compare.arms..b", "folder's"),
    "no arms": ("compare:\n  arms: {}\n", 5, "compare.arms", "at least 1"),
    "arms left out": ("compare: {worlds: [1]}\n", 4, "compare.arms", "missing"),
    "names alike but for capitals": ("compare:\n  arms: {a: {}, A: {}}\n", 4, "compare", "capitals"),
    "worlds and over": ("compare: {worlds: [1], over: [{seed: 1}], arms: {a: {}}}\n", 4, "compare", "not both"),
    "a world twice": ("compare: {worlds: [1, 1], arms: {a: {}}}\n", 4, "compare", "twice"),
    "a gap of no arm": ("compare: {gap: [a, c], arms: {a: {}, b: {}}}\n", 4, "compare", "the arms are a, b"),
    "a mistake in a repetition": (
        "compare:\n  over:\n    - {seed: 1}\n    - {sed: 1}\n  arms: {a: {}}\n",
        7, "compare.over.1.sed", "did you mean 'seed'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_names_the_arm_the_key_and_the_line(tmp_path: Path, case: str) -> None:
    text, line, key, words = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert (caught.value.line, caught.value.key) == (line, key)
    assert words in str(caught.value)
    assert caught.value.remedy


def test_worlds_need_a_sandbox_target(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("concept: {name: A}\ntarget: a-model\ncompare: {worlds: [1], arms: {a: {}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"compare\.worlds"):
        load_config(path)


def test_a_config_built_in_python_is_refused_as_well() -> None:
    config = Config.model_validate(
        {"concept": {"name": "A"}, "target": "m", "compare": {"arms": {"a": {"unlearn.bta": 1}}}}
    )
    with pytest.raises(ArmError, match=r"compare\.arms\.a"):
        list(arms_of(config))


@pytest.mark.parametrize("setting", ["forget_from: oracle", "forget_from: [mined]", "forget_tokens: 9"])
def test_another_forget_set_needs_facts_that_are_held_out(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=r"compose\.holdout"):
        load(tmp_path, f"compose: {{holdout: 0, {setting}}}\n")
    assert not load(tmp_path, f"compose: {{{setting}}}\n").compose.forgets_everything


def test_a_source_stands_once_and_the_oracle_needs_rows(tmp_path: Path) -> None:
    for listed in ("[]", "[mined, mined]"):
        with pytest.raises(ConfigError, match="one source at least"):
            load(tmp_path, f"compose: {{forget_from: {listed}}}\n")
    path = tmp_path / "own.yaml"
    path.write_text("concept: {name: A}\ntarget: a-model\ncompose: {forget_from: oracle}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"data\.oracle"):
        load_config(path)
