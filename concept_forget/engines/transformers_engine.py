"""The engine ``transformers``: a model in this process, asked in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import torch
from pydantic import BaseModel

from concept_forget.config import ModelChoice
from concept_forget.engines.batching import plan_batches
from concept_forget.engines.decoding import Row, decode, optional_inputs
from concept_forget.engines.encoding import RequestEncoder
from concept_forget.engines.protocol import (
    Capability,
    Reply,
    Request,
    Sampling,
    TokenScores,
    check_capabilities,
)
from concept_forget.engines.schema_mask import SchemaCompiler
from concept_forget.engines.scoring import score_rows
from concept_forget.errors import ModelError
from concept_forget.models import load_config, load_model, load_tokenizer, resolve_model
from concept_forget.out_of_memory import free_memory, tell_halved, too_little, unless_out_of_memory
from concept_forget.records import ModelSpec, named_seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

VERSION = 2  # raise it when the same request gets another reply
_LOGIT_ELEMENTS = 1 << 28  # of a scoring batch: one gibibyte of float32, whatever the vocabulary
T = TypeVar("T")
Look = Callable[["PreTrainedModel", list[tuple[list[int], int]], int], list[T]]
"""From a model, token rows with the number of tokens that are given, and a filler to one result per row."""


class TransformersEngine:
    """A causal language model that transformers loads, with an adapter folded in where the spec names one.

    Weights are read when something is first asked of them. In float32 on a processor a reply is the same whatever
    batch it is decoded in, up to ties within rounding; the noise of a sampled reply is keyed by the request, its seed
    and the reply's number, so that two models asked the same draw the same noise.

    Args:
        spec: The model.
        batch_tokens: Padded tokens that a batch may hold, replies included. Where memory does not suffice the batch is
            halved, and the bound with it.
        load: Gives the weights when they are needed.
    """

    capabilities: frozenset[Capability] = frozenset({"generate", "schema", "logprobs", "moments", "hidden"})

    def __init__(
        self, spec: ModelSpec, batch_tokens: int = 16384, load: Callable[[ModelSpec], PreTrainedModel] = load_model
    ) -> None:
        self._spec = spec
        self._load_weights = load
        self._batch_tokens = batch_tokens
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        self.identity = f"transformers-{VERSION}:{_fingerprint(spec)}:{spec.dtype}:{device.type}"
        self.flops_per_token = 0.0
        self._model: PreTrainedModel | None = None

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> list[list[Reply]]:
        """Replies to each request; see ``Engine.generate``."""
        check_capabilities(self, "generate", requests, schema=schema)
        openings = self._encoder.encode(requests)
        rows, owners = [], []
        for number, (request, opening) in enumerate(zip(requests, openings, strict=True)):
            limit = self._limit(opening, sampling)
            for sample in range(sampling.n):
                rows.append(Row(opening, limit, _noise_key(request, sample)))
                owners.append(number)
        prefills = [requests[owner].prefill for owner in owners]
        model = self._load()

        def decode_batch(batch: list[int]) -> list[list[int]]:
            return decode(
                model,
                [rows[row] for row in batch],
                temperature=sampling.temperature,
                stop_tokens=self._stop_tokens,
                filler=self._filler,
                schema=self._schemas.mask(schema, [prefills[row] for row in batch]) if schema else None,
            )

        widths = [len(row.opening) + row.limit for row in rows]
        replies: list[list[Reply]] = [[] for _ in requests]
        for owner, row, ids in zip(owners, rows, self._in_batches(widths, decode_batch), strict=True):
            replies[owner].append(self._reply(requests[owner], row, ids))
        return replies

    def score(self, pairs: Sequence[tuple[Request, str]], moments: bool = False) -> list[TokenScores]:
        """Scores of each completion; see ``Engine.score``."""
        check_capabilities(self, "logprobs", [request for request, _ in pairs], moments=moments)
        rows = self._encoder.encode_pairs(pairs)
        model = self._load()

        def score_batch(batch: list[int]) -> list[TokenScores]:
            return score_rows(model, [rows[row] for row in batch], filler=self._filler, moments=moments)

        return self._in_batches([len(ids) for ids, _ in rows], score_batch, self._logit_bound)

    def look_inside(self, pairs: Sequence[tuple[Request, str]], look: Look[T]) -> list[T]:
        """What a function finds in the model itself, for each pair in their order.

        Args:
            pairs: A completion goes on where its request's prompt and prefill end.
            look: Is handed the model, the rows of a batch (token ids, and how many of them are not the completion's)
                and the token for padding, and gives one result per row. Of each row it may hold one distribution over
                the vocabulary per layer, and one more.

        Raises:
            DataError: A pair is too long for the model.
        """
        rows = self._encoder.encode_pairs(pairs)
        model = self._load()
        held = int(self._config.num_hidden_layers) + 1

        def look_at(batch: list[int]) -> list[T]:
            return look(model, [rows[row] for row in batch], self._filler)

        return self._in_batches([max(len(ids), held) for ids, _ in rows], look_at, self._logit_bound)

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Batches of requests of like length, bounded with their replies by ``batch_tokens``."""
        widths = [len(opening) + self._limit(opening, sampling) for opening in self._encoder.encode(requests)]
        return plan_batches(widths, self._batch_tokens, [sampling.n] * len(requests))

    def plan_scores(self, pairs: Sequence[tuple[Request, str]]) -> list[list[int]]:
        """Batches of pairs of like length, bounded by ``batch_tokens`` and by the size of their logits."""
        widths = [len(ids) for ids, _ in self._encoder.encode_pairs(pairs)]
        return plan_batches(widths, min(self._batch_tokens, self._logit_bound))

    def close(self) -> None:
        """Drop the weights; they are read again if the engine is asked again."""
        self._model = None
        free_memory()

    def _in_batches(
        self, widths: Sequence[int], compute: Callable[[list[int]], list[T]], bound: int | None = None
    ) -> list[T]:
        """Compute rows of these widths batch by batch, in smaller batches where memory does not suffice."""
        results: dict[int, T] = {}
        waiting = list(range(len(widths)))
        while waiting:
            budget = min(self._batch_tokens, bound or self._batch_tokens)
            for group in plan_batches([widths[row] for row in waiting], budget):
                batch = [waiting[place] for place in group]
                done = unless_out_of_memory(partial(compute, batch))
                if done is None:
                    self._halve_batches(len(batch), max(widths[row] for row in batch))
                    break
                results.update(zip(batch, done[0], strict=True))
            waiting = [row for row in waiting if row not in results]
        return [results[row] for row in range(len(widths))]

    def _halve_batches(self, rows: int, width: int) -> None:
        if rows == 1:
            raise too_little(
                f"for one row of {width} tokens of {self._spec.path}",
                "shorten it, lower `max_new_tokens`, or use a smaller model",
            )
        self._batch_tokens = rows // 2 * width
        tell_halved(
            f"{rows} rows of {width} tokens",
            f"batches of {self._batch_tokens} padded tokens. A lower `batch_tokens` saves the attempt.",
        )

    def _load(self) -> PreTrainedModel:
        if self._model is None:
            model = self._load_weights(self._spec)
            if not optional_inputs(model, past_key_values=None):
                raise ModelError(
                    f"a model of the type {model.config.model_type!r} has no key-value cache",
                    file=self._spec.path,
                    remedy="use a transformer with attention",
                )
            self.flops_per_token = 2.0 * model.num_parameters(exclude_embeddings=True)
            self._model = model
        return self._model

    @cached_property
    def _config(self) -> PretrainedConfig:
        return load_config(self._spec)

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self._spec)

    @cached_property
    def _encoder(self) -> RequestEncoder:
        context = getattr(self._config, "max_position_embeddings", None)
        return RequestEncoder(self._tokenizer, context, self._spec.path)

    @cached_property
    def _schemas(self) -> SchemaCompiler:
        return SchemaCompiler(self._tokenizer, self._config.vocab_size, sorted(self._stop_tokens))

    @cached_property
    def _stop_tokens(self) -> frozenset[int]:
        settings = self._load().generation_config
        return self._encoder.stop_tokens(settings.eos_token_id if settings is not None else None)

    @property
    def _filler(self) -> int:
        token = self._tokenizer.pad_token_id
        return int(token) if token is not None else 0

    @property
    def _logit_bound(self) -> int:
        return _LOGIT_ELEMENTS // int(self._config.vocab_size)

    def _limit(self, opening: Sequence[int], sampling: Sampling) -> int:
        room = self._encoder.room(opening)
        return sampling.max_new_tokens if room is None else min(sampling.max_new_tokens, room)

    def _reply(self, request: Request, row: Row, ids: list[int]) -> Reply:
        stopped = ids[-1] in self._stop_tokens
        text = self._encoder.decode(request, row.opening, ids[:-1] if stopped else ids)
        return Reply(text, "stop" if stopped else "length", len(row.opening), len(ids))


def _fingerprint(spec: ModelSpec) -> str:
    """The spec's own, or else one of its files: without any, two models would share their cached replies."""
    if spec.fingerprint:
        return spec.fingerprint
    choice = ModelChoice.model_validate(
        {"model": spec.path, "revision": spec.revision, "dtype": spec.dtype, "adapter": spec.adapter}
    )
    return resolve_model(choice, "model").fingerprint


def _noise_key(request: Request, sample: int) -> int:
    return named_seed(request.seed, "reply", json.dumps(request.prompt), request.prefill, sample)
