"""Sentence encoders in processes of their own, one for each device, fed batch by batch."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.config.verbs import Precision
from concept_forget.errors import EngineError
from concept_forget.out_of_memory import Elsewhere, compute_elsewhere, tell_halvings
from concept_forget.sentence_encoder import SentenceEncoder

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    import numpy as np
    from numpy.typing import NDArray


class EncoderProcesses:
    """Encodes batches side by side and gives them back in their order.

    A batch's vectors depend on the batch alone: it is cut before it is handed out. The processes start with the first.

    Args:
        folder: The model's folder.
        precision: What the encoders compute in.
        devices: One process for each, as in ``("cuda:0", "cuda:1")``; processes on ``cpu`` share the cores.
    """

    def __init__(self, folder: Path, precision: Precision, devices: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")  # what has used an accelerator must not fork
        waiting: SimpleQueue[str] = context.SimpleQueue()
        for device in devices:
            waiting.put(device)
        threads = max(1, (os.cpu_count() or 1) // len(devices))
        self._pool = ProcessPoolExecutor(
            len(devices), mp_context=context, initializer=_settle, initargs=(folder, precision, waiting, threads)
        )

    def encode(self, batches: Sequence[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
        """The vectors of each batch, each of shape (texts, dimension).

        Raises:
            ModelError: A device does not exist, or the model cannot be read.
            EngineError: A process was killed; the batches given back before stand.
        """
        try:
            # Not by `map`, which takes back what waits when one process dies, while the pool tells each of its end.
            waiting = deque(self._pool.submit(_encode, batch) for batch in batches)
            while waiting:
                yield tell_halvings(waiting.popleft().result())
        except BrokenProcessPool as error:
            raise EngineError(
                "a process of `mine.devices` was killed, perhaps for want of memory\n"
                "  → run the same command again, which goes on from the kept vectors, or name fewer devices"
            ) from error

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


_settled: list[SentenceEncoder] = []


def _settle(folder: Path, precision: Precision, waiting: SimpleQueue[str], threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    _settled.append(SentenceEncoder(folder, precision, waiting.get()))


def _encode(batch: Sequence[str]) -> Elsewhere[NDArray[np.float32]]:
    return compute_elsewhere(lambda: _settled[0].encode(batch))
