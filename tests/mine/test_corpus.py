from __future__ import annotations

import glob
import json
import os
from pathlib import Path

import datasets
import pytest

from concept_forget.config import CorpusSource
from concept_forget.errors import DataError
from concept_forget.mine.corpus import Corpus, find_sources, hash_sources
from concept_forget.mine.folders import files_like


def corpus_of(*choices: str | CorpusSource, sandbox: Path | None = None) -> Corpus:
    sources = [choice if isinstance(choice, CorpusSource) else CorpusSource(path=choice) for choice in choices]
    return Corpus(find_sources(sources, sandbox), max_line_bytes=1_000_000)


def texts_of(corpus: Corpus) -> list[str]:
    return [piece.text for piece in corpus.pieces()]


def jsonl(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_a_glob_is_read_in_the_order_of_names(here: Path) -> None:
    for name in ("b", "a", "c/d"):
        jsonl(here / f"data/{name}.jsonl", name)
    corpus = corpus_of("data/**/*.jsonl")
    assert [(p.document, p.text) for p in corpus.pieces()] == [
        ("data/a.jsonl:1", "a"),
        ("data/b.jsonl:1", "b"),
        ("data/c/d.jsonl:1", "c/d"),
    ]
    assert corpus.documents == 3
    assert corpus.bytes_read == corpus.size


def test_a_name_with_brackets_that_exists_is_that_file(here: Path) -> None:
    jsonl(here / "data[1].jsonl", "yes")
    jsonl(here / "data1.jsonl", "no")
    assert texts_of(corpus_of("data[1].jsonl")) == ["yes"]


def test_a_folder_is_read_file_by_file_and_what_has_no_reader_is_listed(here: Path) -> None:
    jsonl(here / "data/a.jsonl", "one")
    (here / "data/b.txt").write_text("two\n", encoding="utf-8")
    (here / "data/c.png").write_bytes(b"\x89PNG")
    (here / "data/d.txt").write_text("", encoding="utf-8")
    (here / "data/.hidden").mkdir()
    jsonl(here / "data/.hidden/e.jsonl", "no")
    corpus = corpus_of("data")
    assert texts_of(corpus) == ["one", "two"]
    assert [(s.file, s.line) for s in corpus.skipped] == [("data/c.png", 1), ("data/d.txt", 1)]
    assert "no reader" in corpus.skipped[0].reason
    assert corpus.skipped[1].reason == "the file is empty"


def test_a_file_named_twice_is_read_once(here: Path) -> None:
    jsonl(here / "a.jsonl", "one")
    jsonl(here / "b.jsonl", "two")
    assert texts_of(corpus_of("a.jsonl", "*.jsonl", "./a.jsonl")) == ["one", "two"]


def test_what_save_to_disk_wrote_is_opened_by_datasets(here: Path) -> None:
    rows = datasets.Dataset.from_dict({"body": ["one", "", "three"], "n": [1, 2, 3]})
    rows.save_to_disk("single")
    datasets.DatasetDict({"train": rows, "other": rows.select([2])}).save_to_disk("several")
    single = corpus_of(CorpusSource(path="single", text="body"))
    assert [(p.document, p.text) for p in single.pieces()] == [("single:1", "one"), ("single:3", "three")]
    assert [(s.file, s.line) for s in single.skipped] == [("single", 2)]
    assert texts_of(corpus_of(CorpusSource(path="several", text="body", split="other"))) == ["three"]
    assert single.size is not None


def test_a_folder_with_a_dataset_card_is_streamed_by_datasets(here: Path) -> None:
    jsonl(here / "set/data/one.jsonl", "trained")
    jsonl(here / "set/data/two.jsonl", "tested")
    (here / "set/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/one.jsonl\n"
        "  - split: test\n    path: data/two.jsonl\n---\n# A set\n",
        encoding="utf-8",
    )
    assert texts_of(corpus_of("set")) == ["trained"]
    assert texts_of(corpus_of(CorpusSource(path="set", split="test"))) == ["tested"]
    with pytest.raises(DataError, match=r"corpus\.0\.path: 'set' is not a folder that `datasets` reads"):
        texts_of(corpus_of(CorpusSource(path="set", split="absent")))


CARD = "---\nconfigs:\n- config_name: default\n  {}\n---\n# A set\n"
LEADING_ELSEWHERE = [
    "data_files: /etc/passwd",
    "data_files: ../secret.txt",
    "data_files: data/../../*.txt",
    "data_files: http://127.0.0.1:9/leak",
    "data_files: hf://datasets/somebody/set/a.jsonl",
    'data_files: "zip://a.txt::http://127.0.0.1:9/leak"',
    'data_files: "~/secret.txt"',
    "data_files: [one.jsonl, '..\\\\secret.txt']",
    "data_files: [{split: train, path: [one.jsonl, /etc/passwd]}]",
    "data_dir: ../",
]


@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("told", LEADING_ELSEWHERE)
def test_a_dataset_card_cannot_name_files_elsewhere(here: Path, told: str, card: str) -> None:
    (here / "secret.txt").write_text("secret\n", encoding="utf-8")
    jsonl(here / "set/one.jsonl", "row")
    (here / "set/README.md").write_text(CARD.format("data_files: one.jsonl"), encoding="utf-8")
    assert texts_of(corpus_of("set")) == ["row"]
    text = CARD.format(told)
    (here / "set" / card).write_text(text if card == "README.md" else text.split("---")[1], encoding="utf-8")
    with pytest.raises(DataError, match="names a file outside of its folder") as caught:
        corpus_of("set")
    assert caught.value.file == f"set/{card}"
    assert caught.value.key == "corpus.0.path"
    assert "give the path of the files" in str(caught.value)


@pytest.mark.parametrize(
    "head",
    ["configs: {a: 1}", "configs: 7", "configs:\n- a", "configs:\n- [config_name]", "configs: [", "configs: [{a: 1}]",
     "configs: !!python/object/apply:os.getcwd []", "configs: [{config_name: a, data_files: 7}]",
     "dataset_info: [7]", "dataset_info: {features: 7}", "dataset_info: {features: [{name: a, dtype: b}]}",
     "configs: [{config_name: a, features: 7}]", "configs: " + "[" * 5000],
)  # fmt: skip
def test_a_card_that_is_none_is_refused(here: Path, head: str) -> None:
    jsonl(here / "set/one.jsonl", "row")
    (here / "set/README.md").write_text(f"---\n{head}\n---\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.0\.path: .*\n.*(mend it|check spelling)"):
        texts_of(corpus_of("set"))


def test_what_save_to_disk_wrote_cannot_name_files_elsewhere(here: Path) -> None:
    datasets.Dataset.from_dict({"text": ["secret"]}).save_to_disk("other")
    datasets.Dataset.from_dict({"text": ["row"]}).save_to_disk("single")
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["row"]})}).save_to_disk("several")
    for state in (here / "single/state.json", here / "several/train/state.json"):
        told = json.loads(state.read_text(encoding="utf-8"))
        told["_data_files"] = [{"filename": "../other/data-00000-of-00001.arrow"}]
        state.write_text(json.dumps(told), encoding="utf-8")
        with pytest.raises(DataError, match=r"state\.json: corpus\.0\.path: a dataset names a file outside"):
            corpus_of(state.relative_to(here).parts[0])
    (here / "several/dataset_dict.json").write_text('{"splits": ["../other"]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset_dict\.json: .* outside of its folder: '\.\./other'"):
        corpus_of(CorpusSource(path="several", split="../other"))


def test_a_script_beside_a_dataset_is_not_run_and_explained(here: Path) -> None:
    jsonl(here / "set/one.jsonl", "row")
    (here / "set/set.py").write_text(f"open({str(here / 'ran')!r}, 'w')\n", encoding="utf-8")
    (here / "set/README.md").write_text(CARD.format("data_files: one.jsonl"), encoding="utf-8")
    with pytest.raises(DataError, match=r"'set' is not a folder that `datasets` reads: Dataset scripts are no longer"):
        texts_of(corpus_of("set"))
    assert not (here / "ran").exists()


def linked(folder: Path) -> Path:
    """A folder with one file and links to what is elsewhere, to nothing, and round and round."""
    jsonl(folder / "a.jsonl", "row")
    jsonl(folder / "deep/c.jsonl", "below")
    (folder.parent / "secret.txt").write_text("secret\n", encoding="utf-8")
    for name, place in {
        "b.jsonl": "a.jsonl", "e.txt": "/proc/self/environ", "k.txt": "/proc/kmsg", "p.txt": "/etc/passwd",
        "s.txt": "../secret.txt", "gone.txt": "gone", "round.txt": "round.txt", "null.txt": "/dev/zero",
        "x": ".", "y": ".", "up": "..", "deep/z": "..",
    }.items():  # fmt: skip
        (folder / name).symlink_to(place)
    os.mkfifo(folder / "pipe.txt")
    (folder / "t.md").write_text("t\n", encoding="utf-8")
    return folder


OUT = ["e.txt", "k.txt", "null.txt", "p.txt", "s.txt"]
ROUND = ["deep/z", "up", "x", "y"]


@pytest.mark.parametrize(
    ("pattern", "texts", "links"),
    [("data", ["row", "below", "t"], [*OUT, *ROUND]), ("data/**", ["row", "below", "t"], [*OUT, *ROUND]),
     ("data/**/*.jsonl", ["row", "below"], ROUND), ("data/**/**/[ept].*", ["t"], ["e.txt", "p.txt", *ROUND]),
     ("data/*/*.jsonl", ["below"], ["up", "x", "y"])],
)  # fmt: skip
def test_no_link_within_a_folder_is_followed_out_of_it(
    here: Path, pattern: str, texts: list[str], links: list[str]
) -> None:
    linked(here / "data")
    corpus = corpus_of(pattern)
    assert texts_of(corpus) == texts
    assert [skip.file for skip in corpus.skipped] == sorted(f"data/{name}" for name in links)
    assert all("is not followed; name what it leads to" in skip.reason for skip in corpus.skipped)


def test_a_link_that_the_user_names_is_followed(here: Path) -> None:
    jsonl(here / "elsewhere/a.jsonl", "row")
    (here / "folder").symlink_to("elsewhere")
    (here / "file.jsonl").symlink_to("elsewhere/a.jsonl")
    for pattern in ("folder", "folder/*.jsonl", "folder/a.jsonl", "file.jsonl", "folder/../elsewhere/**/a.jsonl"):
        corpus = corpus_of(pattern)
        assert texts_of(corpus) == ["row"]
        assert corpus.skipped == []


def test_where_nothing_but_links_is_found_that_is_said(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data/p.txt").symlink_to("/etc/passwd")
    for pattern in ("data", "data/*.txt"):
        with pytest.raises(DataError, match=r"but 1 links that are not followed\n.*name what it leads to"):
            corpus_of(pattern)


def test_a_dataset_with_a_link_out_of_it_is_refused_before_it_is_hashed(here: Path) -> None:
    jsonl(here / "set/one.jsonl", "row")
    (here / "set/README.md").write_text(CARD.format("data_files: '*.txt'"), encoding="utf-8")
    (here / "set/k.txt").symlink_to("/proc/kmsg")
    with pytest.raises(DataError, match=r"set/k\.txt: corpus\.0\.path: a link in a dataset leads out of its folder"):
        corpus_of("set")


def test_a_snapshot_in_the_hubs_cache_is_read(here: Path) -> None:
    """Its files are links to blobs beside it."""
    place = here / "hub/datasets--somebody--set"
    jsonl(place / "blobs/0123", "row")
    snapshot = place / "snapshots/abc"
    (snapshot / "data").mkdir(parents=True)
    (snapshot / "data/a.jsonl").symlink_to("../../../blobs/0123")
    for pattern in ("hub/datasets--somebody--set/snapshots/abc", "hub/*/snapshots/*/data/*.jsonl"):
        assert texts_of(corpus_of(pattern)) == ["row"]


def test_a_pattern_means_what_glob_says(here: Path) -> None:
    for name in ("a.jsonl", ".b.jsonl", "c/d.jsonl", "c/.e/f.jsonl", "c/g/h.jsonl", "c/g/[i].jsonl", ".j/k.jsonl"):
        jsonl(here / "data" / name, name)
    for pattern in (
        "data/*", "data/**", "data/**/*.jsonl", "data/.*", "data/.*/*", "data/*/d.jsonl", "data/c/**/h.jsonl", "**/[[]i].jsonl",
        "data/**/c/**", "data/?.jsonl", "data/[!a]*", "**", "*/c/../a.jsonl", "data/**/.e/*", str(here / "data/**/*.jsonl"),
    ):  # fmt: skip
        known = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())
        found = files_like(pattern)
        assert (list(found.files), found.links) == (known, ()), pattern


def test_a_readme_that_is_no_card_is_text(here: Path) -> None:
    jsonl(here / "set/one.jsonl", "row")
    (here / "set/README.md").write_text("# A folder\n", encoding="utf-8")
    assert texts_of(corpus_of("set")) == ["# A folder", "row"]


@pytest.mark.parametrize(
    "path", ["absent.jsonl", "./absent", "/absent", "absent/of/three", "data/*.jsonl", "~/absent-folder-of-nobody"]
)
def test_an_absent_path_is_refused_with_key_pattern_and_remedy(here: Path, path: str) -> None:
    jsonl(here / "there.jsonl", "x")
    with pytest.raises(DataError) as caught:
        corpus_of("there.jsonl", path)
    assert caught.value.key == "corpus.1.path"
    assert repr(path) in caught.value.problem
    assert "relative path" in str(caught.value)


def test_an_empty_folder_is_refused(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        corpus_of("empty")


def test_an_unknown_ending_is_refused_with_the_known_ones(here: Path) -> None:
    (here / "a.docx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"\.jsonl, .*also with \.gz"):
        corpus_of("a.docx")


def test_a_corpus_without_a_text_names_the_commonest_reasons(here: Path) -> None:
    (here / "a.jsonl").write_text('{"body": "x"}\n' * 5 + "{\n", encoding="utf-8")
    corpus = corpus_of("a.jsonl")
    with pytest.raises(DataError) as caught:
        texts_of(corpus)
    message = str(caught.value)
    assert message.startswith("corpus.0.path: 'a.jsonl' holds no text that can be read")
    assert "a.jsonl:1: there is neither a column `text`" in message
    assert "(5×)" in message
    assert "a.jsonl:6: bad JSON" in message
    assert "text: COLUMN" in message


def test_one_good_source_does_not_hide_an_empty_one(here: Path) -> None:
    jsonl(here / "a.jsonl", "fine")
    (here / "b.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.1\.path: 'b\.txt' holds no text"):
        texts_of(corpus_of("a.jsonl", "b.txt"))


def test_a_hub_set_that_cannot_be_had_is_refused(here: Path) -> None:
    with pytest.raises(DataError, match=r"neither a file here nor a set on the hub.*\n.*connection"):
        texts_of(corpus_of("nobody/no-such-set"))


def test_a_file_that_vanishes_before_it_is_read_is_named(here: Path) -> None:
    path = jsonl(here / "a.jsonl", "x")
    corpus = corpus_of("a.jsonl")
    path.unlink()
    with pytest.raises(DataError, match=r"a\.jsonl: corpus\.0\.path: 'a\.jsonl' cannot be read: No such file"):
        texts_of(corpus)


def test_the_sandbox_is_read_under_its_own_name(here: Path) -> None:
    path = jsonl(here / "store/documents.jsonl", "x")
    (piece,) = corpus_of(CorpusSource(sandbox=True), sandbox=path).pieces()
    assert piece.document == "sandbox:1"


def test_the_hash_changes_with_a_file_a_name_and_a_setting(here: Path) -> None:
    def marks(*choices: CorpusSource) -> str:
        return json.dumps(hash_sources(find_sources(choices)))

    jsonl(here / "a.jsonl", "x")
    first = marks(CorpusSource(path="a.jsonl"))
    assert marks(CorpusSource(path="a.jsonl")) == first
    assert marks(CorpusSource(path="a.jsonl", text="body")) != first
    jsonl(here / "a.jsonl", "y")
    assert marks(CorpusSource(path="a.jsonl")) != first
    whole = marks(CorpusSource(path="*.jsonl"))
    (here / "a.jsonl").rename(here / "b.jsonl")
    assert marks(CorpusSource(path="*.jsonl")) != whole
    datasets.Dataset.from_dict({"text": ["x"]}).save_to_disk("saved")
    saved = marks(CorpusSource(path="saved"))
    (here / "saved/state.json").write_text("{}", encoding="utf-8")
    assert marks(CorpusSource(path="saved")) != saved
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert commit in marks(CorpusSource(path="nobody/set", revision=commit))
