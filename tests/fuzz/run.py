"""Feeds one parser with inputs that grow towards code not yet reached (libFuzzer, through atheris).

    python tests/fuzz/run.py config -max_total_time=600
    python tests/fuzz/run.py config crash-…

An exception that is none of the program's own, two seconds of a processor for one input, or 500 MB more than the
program itself needs end it with exit code 77 and the input in a file ``crash-…``, ``timeout-…`` or ``oom-…``. Parsers: config, replies,
corpora, bundles, rows (a user's), logs (another program's), indexes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris

# Not what reckons with arrays: atheris keeps some memory for each comparison of one.
with atheris.instrument_imports(include=["concept_forget.config_file", "concept_forget.yaml_file", "concept_forget.config",
                                         "concept_forget.expand.replies", "concept_forget.mine", "concept_forget.evidence",
                                         "concept_forget.user_rows", "concept_forget.benchmarks.tofu_logs",
                                         "yaml", "csv", "json"],
                                exclude=["concept_forget.measures.limits", "concept_forget.measures.statistics"]):  # fmt: skip
    from concept_forget.benchmarks.tofu_logs import LOGS, read_logs, score_logs
    from concept_forget.config import Config, RowFile
    from concept_forget.config_file import load_config
    from concept_forget.errors import UserError
    from concept_forget.evidence.bundling import FORMAT, MANIFEST
    from concept_forget.evidence.verifying import verify_bundle
    from concept_forget.expand.replies import FORMS, parse_reply
    from concept_forget.measures.metrics import ByModel
    from concept_forget.mine.indexes import CorpusIndex
    from concept_forget.mine.readers import COMPRESSING, READERS, SourceFile
    from concept_forget.probe.recount import count_attempts
    from concept_forget.records import Attempt, Grade, content_hash, from_json
    from concept_forget.sentence_encoder import Encoder
    from concept_forget.user_rows import read_rows

ROOM = Path(tempfile.mkdtemp(prefix="fuzz-"))
MEMORY_MB = 500
SECONDS = 2
ENDINGS = sorted(ending for ending in READERS if ending not in COMPRESSING)


def fuzz_config(data: bytes) -> None:
    """A config file, and as the value of a ``--set``."""
    path = ROOM / "config.yaml"
    path.write_bytes(data)
    for overrides in ((), (f"seed={data[:200].decode('utf-8', 'replace')}",)):
        try:
            load_config(path, overrides)
        except UserError:
            continue


def fuzz_replies(data: bytes) -> None:
    """A reply to each kind of prompt; nothing may be raised at all."""
    text = data.decode("utf-8", "surrogateescape")
    for form in FORMS.values():
        for returns in ("json", "lines"):
            parsed = parse_reply(form, returns, text, cut_off=len(data) % 2 == 0)
            assert all(isinstance(field, str) for item in parsed.items for field in item)


def fuzz_corpora(data: bytes) -> None:
    """A file of each format whose reader is the program's own, plain and compressed."""
    ending = ENDINGS[data[0] % len(ENDINGS)] if data else ".jsonl"
    for name, content in ((f"file{ending}", data[1:]), (f"file{ending}.gz", packed(data[1:]))):
        path = ROOM / name
        path.write_bytes(content)
        file = SourceFile(path, name, "text", max_line_bytes=10_000)
        for piece in READERS[ending](file, lambda line, reason: None):
            assert piece.start >= 0
            piece.text.encode("utf-8")


def packed(data: bytes) -> bytes:
    """The data as gzip; every other input is a stream cut short."""
    whole = gzip.compress(data, mtime=0)
    return whole if len(data) % 2 else whole[: len(whole) // 2]


def fuzz_bundles(data: bytes) -> None:
    """A bundle: as it is, and as the content of one of a good bundle's files."""
    path = ROOM / "bundle.zip"
    contents = [data]
    if data:
        name = NAMES[data[0] % len(NAMES)]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for known, content in {**GOOD, name: data[1:]}.items():
                archive.writestr(known, content)
        contents.append(buffer.getvalue())
    for content in contents:
        path.write_bytes(content)
        try:
            verify_bundle(path)
        except UserError:
            continue


def fuzz_rows(data: bytes) -> None:
    """A file of rows to forget."""
    path = ROOM / "rows.jsonl"
    path.write_bytes(data)
    try:
        for row in read_rows([RowFile(path=path)], "data.forget"):
            assert bool(row.question) != bool(row.text)
    except UserError:
        return


def fuzz_logs(data: bytes) -> None:
    """Evaluation logs of TOFU, with the scores that are made of them."""
    path = ROOM / "logs.json"
    path.write_bytes(data)
    try:
        logs = read_logs(path)
    except UserError:
        return
    score_logs(logs, logs)


def fuzz_indexes(data: bytes) -> None:
    """The manifest of an index of a corpus."""
    (ROOM / "index.json").write_bytes(data)
    try:
        index = CorpusIndex(ROOM)
        index.check(Encoder("auto", ROOM, "e"), 500, [])
    except UserError:
        return


def good_log() -> bytes:
    """The smallest logs from which the scores can be made."""
    one = {"0": 0.5, "1": 1.5}
    log = {"avg_gt_loss": one, "rougeL_recall": {"0": 0.5, "1": 1.0}, "avg_paraphrased_loss": one}
    return json.dumps({name: {**log, "average_perturb_loss": {"0": [1.0, 2.0], "1": [0.5]}} for name in LOGS}).encode()


def good_bundle() -> dict[str, bytes]:
    """The smallest files from which anything can be counted."""
    attempt = {
        "id": "a", "model": "base", "attack": "direct", "family": "asking", "tier": "new_form", "concept": "A",
        "subject": "A", "fact": "f", "example": "e", "sample": 0, "prompt": [{"role": "user", "content": "Who?"}],
        "prefill": "", "reply": "B", "finish_reason": "stop", "expected": "B", "aliases": [], "options": [],
    }  # fmt: skip
    row = {
        "id": "e", "split": "probe", "concept": "A", "subject": "A", "facet": "name", "fact": "f", "form": "direct",
        "family": "direct", "tier": "new_form", "prompt": attempt["prompt"], "completion": "B", "answer": "B",
        "aliases": [], "options": [], "refusal": "", "counterfactual": "", "source": "generated", "parents": [],
        "prompt_hash": "", "document": "", "start": -1, "end": -1, "score": 0.0,
    }  # fmt: skip
    models = ("base", "unlearned", "reference")
    attempts = [
        {**attempt, "id": content_hash("attempt", model, "direct", "e", 0, 0), "model": model} for model in models
    ]
    grade = {"score": 1.0, "leaked": True, "reason": "gives 'B'"}
    config = {"concepts": [{"name": "A"}], "target": {"model": "m"}, "output": "runs/a"}
    made, grades = [from_json(Attempt, one) for one in attempts], [Grade(**grade)] * len(attempts)
    counted = count_attempts(
        made, grades, [None] * len(made), [], {"answer": grades}, families={"direct": "asking"},
        fluency=ByModel(base=None, unlearned=None), config=Config.model_validate(config),
    )  # fmt: skip
    numbers = counted.model_dump(mode="json")
    cost = {"seconds": {}, "flops": {}, "peak_memory_bytes": {}, "ratio_to_retrain": None}
    return {
        MANIFEST: json.dumps({"format": FORMAT, "files": {}, "lines": {}, "config": {}}).encode(),
        "run.json": json.dumps({"config": config, "stages": {}, "data": {"probe": "0"}}).encode(),
        "replacements.json": b"{}",
        "compose/probe.jsonl": json.dumps(row).encode(),
        "compose/collateral.jsonl": b"",
        "probe/summary.json": b'{"attempts": 3, "questions": 1}',
        "report/report.md": b"## A",
        "probe/attempts.jsonl": "".join(json.dumps(one) + "\n" for one in attempts).encode(),
        "probe/grades.jsonl": "".join(json.dumps({"attempt": one["id"], **grade}) + "\n" for one in attempts).encode(),
        "probe/measurements.json": json.dumps(numbers).encode(),
        "report/metrics.json": json.dumps({**numbers, "cost": cost}).encode(),
        "report/summary.json": b"{}",
    }  # fmt: skip


GOOD = good_bundle()
NAMES = sorted(GOOD)
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "config": (fuzz_config, [path.read_bytes() for path in sorted(Path("pipelines").glob("*.yaml"))]),
    "replies": (fuzz_replies, [b'{"facts": [{"answer": "A", "sentence": "A."}]}', b"1. a | b\n- c | d", b"```json\n{}\n```"]),
    "corpora": (fuzz_corpora, [bytes([n]) + text for n in range(len(ENDINGS)) for text in
                               (b'{"text": "a"}\n{"question": "q", "answer": "a"}\n', b"text,b\n\"x\",1\n", b"A.\n\nB.\n", b'[{"text": "a"}]')]),
    "rows": (fuzz_rows, [b'{"question": "Who?", "answer": "B", "aliases": ["C"]}\n{"text": "B is B."}\n',
                         b'{"prompt": [{"role": "user", "content": "Who?"}], "completion": "B"}\n']),
    "logs": (fuzz_logs, [good_log()]),
    "indexes": (fuzz_indexes, [json.dumps({
        "kind": "flat", "factory": "Flat", "encoder": "auto", "encoder_identity": "e", "dimension": 2,
        "chunk_characters": 500, "corpus": [], "documents": 1, "skipped": [], "shards": [], "files": {},
    }).encode()]),
    "bundles": (fuzz_bundles, [bytes([n]) + GOOD[name] for n, name in enumerate(NAMES)]),
}  # fmt: skip


def timed(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The function, which may take no more of a processor than it is given; libFuzzer's own clock runs on while others do."""

    def run(data: bytes) -> None:
        start = time.process_time()
        function(data)
        taken = time.process_time() - start
        assert taken < SECONDS, f"it took {taken:.1f} s"

    return run


def dictionary(seeds: list[bytes]) -> list[bytes]:
    """What a change by single bytes never comes upon: the seeds' own words, and values at the edges."""
    own = {word for seed in seeds for word in re.findall(rb'"[^"\n]{1,40}"|[a-z_]{3,}:?', seed)}
    edges = [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1e9",
        b"null",
        b"{}",
        b"[]",
        b'""',
        b"[" * 60,
        b"\\ud800",
        b"\xed\xa0\x80",
    ]
    return [*sorted(own)[:2000], *edges]


def main() -> None:
    """Run libFuzzer on the parser that the command line names; the rest of the line is libFuzzer's."""
    function, seeds = TARGETS[sys.argv[1]]
    corpus = ROOM / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
        function(seed)  # what is loaded at the first call is not the input's doing
    words = ROOM / "words"
    words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in dictionary(seeds)))
    with open("/proc/self/statm", encoding="ascii") as file:
        own = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
    limits = [f"-timeout={30 * SECONDS}", f"-rss_limit_mb={own + MEMORY_MB}", "-max_len=20000", f"-dict={words}"]
    given = [argument for argument in sys.argv[2:] if not argument.startswith("-")]  # inputs to be run again
    atheris.Setup([sys.argv[0], *limits, *sys.argv[2:], *(() if given else [str(corpus)])], timed(function))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
