from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.benchmarks.sizes import add_options, growth, kept_in, once, publish, table


def test_growth_is_the_exponent_of_a_power_law() -> None:
    sizes = [250, 500, 1000, 2000]
    assert growth(sizes, [0.003 * size**1.25 for size in sizes]) == pytest.approx(1.25, abs=1e-3)
    assert growth(sizes, [7.0] * 4) == pytest.approx(0, abs=1e-9)
    # Closed form of the slope for a cost that doubles from the first of two sizes to the second, fourfold one.
    assert growth([10, 40], [3.0, 6.0]) == 0.5


def test_one_size_tells_of_no_growth() -> None:
    assert growth([250], [1.0]) is None
    assert growth([250, 250], [1.0, 2.0]) is None


def test_what_is_measured_is_measured_once(tmp_path: Path) -> None:
    calls = []

    def run() -> dict[str, int]:
        calls.append(1)
        return {"seconds": len(calls)}

    assert [once(tmp_path / "250.json", run), once(tmp_path / "250.json", run)] == [{"seconds": 1}] * 2
    assert once(tmp_path / "500.json", run) == {"seconds": 2}


def test_a_run_that_fails_keeps_nothing(tmp_path: Path) -> None:
    def run() -> dict[str, int]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        once(tmp_path / "250.json", run)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_does_not_take_what_is_measured_otherwise(tmp_path: Path) -> None:
    with kept_in(tmp_path, engine="transformers", turns=3):
        pass
    with kept_in(tmp_path, engine="transformers", turns=3) as folder:
        assert folder == tmp_path
    with (
        pytest.raises(SystemExit, match=r"turns 3, not 1\): empty it"),
        kept_in(tmp_path, engine="transformers", turns=1),
    ):
        pass


def test_without_a_folder_nothing_stays() -> None:
    with kept_in(None, turns=1) as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_a_table_and_one_json_object_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = table(("prompts", "ours"), [("250", "1.0 s"), ("500", "1.9 s")])
    assert shown == "| prompts | ours |\n| --- | --- |\n| 250 | 1.0 s |\n| 500 | 1.9 s |"
    with kept_in(tmp_path, turns=1):
        publish(tmp_path, shown, {"growth": 0.926})
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == shown.splitlines()
    assert json.loads(last) == json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert json.loads(last)["machine"]["processors"] >= 1
    assert (json.loads(last)["turns"], json.loads(last)["growth"]) == (1, 0.926)


@pytest.mark.parametrize(("sizes", "given"), [((250, 500), ["1000"]), (("1M", "4M"), ["4M"])])
def test_sizes_are_numbers_or_names(sizes: tuple[int, ...] | tuple[str, ...], given: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, sizes, "prompts")
    assert parser.parse_args([]).sizes == sizes
    assert parser.parse_args(["--sizes", *given]).sizes == [type(sizes[0])(given[0])]
    if isinstance(sizes[0], str):
        with pytest.raises(SystemExit):
            parser.parse_args(["--sizes", "3M"])
