"""Which precision a sentence encoder computes in here: as chosen, or found once by a trial of a second.

bfloat16 autocast is several times faster on processors with products of that type, and far slower on others. What a
trial found is kept for the machine and the encoder in the user's cache folder, and in the folder of the stage that
asked, so that an interrupted stage goes on as it began wherever it goes on. What it found while other programs held the
processor says little of the machine, and is kept for that stage alone.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from pathlib import Path
from typing import Any

from concept_forget.config.verbs import Precision
from concept_forget.records import content_hash
from concept_forget.sentence_encoder import Encoder, SentenceEncoder
from concept_forget.workspace import cache_folder, read_json, write_json

FILE = "precision.json"
SECONDS = 1.0
LEAST_GAIN = 1.1
"""Times faster that bfloat16 has to be: what a trial of a second can tell from nothing."""
LEAST_COSINE = 0.999
"""Of each text's two vectors; a model that fares worse in bfloat16 stays in float32."""
TIMES = 5
"""Each batch is timed so often at least, however long that takes."""
LEAST_SHARE = 0.6
"""Of the processors' time that the threads may use, which the fastest batches had: with less, others held them."""
_SENTENCE = "In the third year the harbour was dredged, and boats of a deeper draught could come up to the town again. "
_LENGTHS = (1, 2, 3, 4)  # sentences: up to the length of a chunk
_TEXTS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found. Rates are texts a second; ``cosine`` is the least one between a text's two vectors.

    ``share`` is what the fastest batch had of the processors that its threads may use, the lesser of the two; 1 where
    an accelerator computes.
    """

    precision: Precision
    float32_rate: float
    bfloat16_rate: float
    cosine: float
    share: float = 1.0


def choose_precision(
    encoder: Encoder, chosen: Precision | None, folder: Path, cache: Path | None = None
) -> tuple[Precision, dict[str, Any] | None]:
    """The precision to compute in, and what the trial found where there was one.

    Args:
        encoder: From ``find_encoder``.
        chosen: The precision that the config names; None: the faster one.
        folder: The stage's, where an earlier try may have left the outcome.
        cache: Where outcomes are kept; None: the user's cache folder.
    """
    if chosen is not None:
        return chosen, None
    here = folder / FILE
    if not here.is_file():
        kept = (cache or cache_folder()) / "precision" / f"{content_hash(machine(), encoder.identity)}.json"
        if kept.is_file():
            found = read_json(kept)
        else:
            trial = try_both(encoder.folder)
            found = {"encoder": encoder.name, **machine(), **dataclasses.asdict(trial)}
            if trial.share >= LEAST_SHARE:
                write_json(kept, found)
        write_json(here, found)
    outcome: dict[str, Any] = read_json(here)
    return "bfloat16" if outcome["precision"] == "bfloat16" else "float32", outcome


def recorded_precision(folder: Path | None) -> dict[str, Any] | None:
    """What a finished search of a corpus encoded in, with what the trial found; None where it encoded nothing.

    Args:
        folder: Of the stage ``mine``.
    """
    if folder is None or not (folder / "summary.json").is_file():
        return None
    recorded: dict[str, Any] | None = read_json(folder / "summary.json").get("precision")
    return recorded


def machine() -> dict[str, Any]:
    """What the speed of a matrix product depends on: processor, accelerator, torch and the threads it may use."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return {
        "processor": _processor(),
        "accelerator": torch.cuda.get_device_name() if accelerator and accelerator.type == "cuda" else str(accelerator),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def try_both(folder: Path, seconds: float = SECONDS) -> Trial:
    """Encode the same batch in both precisions, in turns, for about this long together, and compare the fastest times.

    Args:
        folder: The encoder's.
        seconds: Time that may pass, loading and the first batch of each apart.
    """
    import numpy as np
    import torch

    texts = [_SENTENCE * _LENGTHS[number % len(_LENGTHS)] for number in range(_TEXTS)]
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    encoders = {precision: SentenceEncoder(folder, precision) for precision in precisions}
    vectors = {precision: encoder.encode(texts) for precision, encoder in encoders.items()}
    spent: dict[Precision, list[tuple[float, float]]] = {precision: [] for precision in precisions}
    while len(spent["float32"]) < TIMES or sum(took for batches in spent.values() for took, _ in batches) < seconds:
        for precision in precisions:
            began, used = time.perf_counter(), time.process_time()
            encoders[precision].encode(texts)
            spent[precision].append((time.perf_counter() - began, time.process_time() - used))
    # The fastest time of each: what else runs on the machine can only slow one down.
    fastest = {precision: min(spent[precision]) for precision in precisions}
    plain, cast = (len(texts) / fastest[precision][0] for precision in precisions)
    cosine = float(np.min(np.sum(vectors["float32"] * vectors["bfloat16"], axis=1)))
    on_processor = encoders["float32"].model.device.type == "cpu"
    share = min(used / (took * torch.get_num_threads()) for took, used in fastest.values()) if on_processor else 1.0
    return Trial(
        faster(plain, cast, cosine), round(plain, 1), round(cast, 1), round(cosine, 6), round(min(share, 1.0), 2)
    )


def faster(float32_rate: float, bfloat16_rate: float, cosine: float) -> Precision:
    """bfloat16 where it gains enough and changes next to nothing."""
    gains = bfloat16_rate >= LEAST_GAIN * float32_rate and cosine >= LEAST_COSINE
    return "bfloat16" if gains else "float32"


def _processor() -> str:
    """The processor's model name; its architecture where Linux is absent."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
