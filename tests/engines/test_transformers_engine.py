from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field
from scipy import stats

from concept_forget.engines.encoding import RequestEncoder
from concept_forget.engines.protocol import Reply, Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import DataError, ModelError
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import ModelSpec, user_message

GREEDY = Sampling()
SAMPLED = Sampling(temperature=1.0)


def texts(replies: list[list[Reply]]) -> list[list[str]]:
    return [[reply.text for reply in several] for several in replies]


def test_greedy_replies_are_those_of_transformers_own_generate_one_by_one(
    engine: TransformersEngine, requests: list[Request], untaught_folder: Path
) -> None:
    spec = ModelSpec(path=str(untaught_folder))
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    replies = engine.generate(requests[:60], GREEDY)
    for request, [reply] in zip(requests[:60], replies, strict=True):
        inputs = tokenizer.apply_chat_template(
            request.prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=64)[0, inputs["input_ids"].shape[1] :].tolist()
        stopped = ids[-1] == tokenizer.eos_token_id
        assert reply.text == tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True)
        assert reply.finish_reason == ("stop" if stopped else "length")
        assert (reply.prompt_tokens, reply.completion_tokens) == (inputs["input_ids"].shape[1], len(ids))


@pytest.mark.parametrize(
    "sampling",
    [Sampling(max_new_tokens=24), Sampling(1.0, max_new_tokens=24), Sampling(0.7, n=3, max_new_tokens=12)],
)
def test_a_reply_does_not_depend_on_its_batch(
    engine: TransformersEngine, untaught_spec: ModelSpec, requests: list[Request], sampling: Sampling
) -> None:
    expected = engine.generate(requests, sampling)
    assert len({reply.completion_tokens for several in expected for reply in several}) > 10
    for batch_tokens, count in ((16, 12), (800, 240), (100_000, 240)):  # one row at a time, some, all at once
        order = random.Random(batch_tokens).sample(range(len(requests)), count)
        replies = TransformersEngine(untaught_spec, batch_tokens).generate([requests[p] for p in order], sampling)
        assert replies == [expected[place] for place in order]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.2, n=2)])
def test_a_taught_model_says_the_same_in_any_batch_and_order(
    nano_model: Path, nano_questions: list[Request], sampling: Sampling
) -> None:
    spec = ModelSpec(path=str(nano_model))
    expected = TransformersEngine(spec).generate(nano_questions, sampling)
    order = random.Random(1).sample(range(300), 300)
    for batch_tokens in (700, 3000):
        replies = TransformersEngine(spec, batch_tokens).generate([nano_questions[p] for p in order], sampling)
        assert replies == [expected[place] for place in order]
    alone = TransformersEngine(spec, 1).generate(nano_questions[:20], sampling)
    assert alone == expected[:20]


def test_padding_does_not_move_the_places_that_a_model_has_learned_apart(
    absolute_folder: Path, requests: list[Request]
) -> None:
    spec, sampling = ModelSpec(path=str(absolute_folder)), Sampling(max_new_tokens=12)
    pairs = [(request, "in old Dunholm") for request in requests[:30]]
    alone, together = TransformersEngine(spec, 1), TransformersEngine(spec)
    assert together.generate(requests[:30], sampling) == alone.generate(requests[:30], sampling)
    for one, other in zip(together.score(pairs), alone.score(pairs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_part_of_the_requests_gets_the_same_replies(engine: TransformersEngine, requests: list[Request]) -> None:
    expected = engine.generate(requests, SAMPLED)
    assert engine.generate(requests[100:107], SAMPLED) == expected[100:107]


def test_sampled_replies_differ_by_seed_and_by_number_and_are_repeatable(engine: TransformersEngine) -> None:
    one, other = Request("Mira was", seed=1), Request("Mira was", seed=2)
    sampling = Sampling(temperature=1.5, n=20, max_new_tokens=8)
    [of_one], [of_other] = texts(engine.generate([one], sampling)), texts(engine.generate([other], sampling))
    assert len(set(of_one)) > 10
    assert of_one != of_other
    assert texts(engine.generate([one], sampling)) == [of_one]


def test_fewer_replies_are_the_first_of_more(engine: TransformersEngine, requests: list[Request]) -> None:
    two = engine.generate(requests[:5], Sampling(temperature=1, n=2))
    five = engine.generate(requests[:5], Sampling(temperature=1, n=5))
    assert [several[:2] for several in five] == two


def test_greedy_replies_do_not_depend_on_the_seed(engine: TransformersEngine, requests: list[Request]) -> None:
    other_seeds = [dataclasses.replace(request, seed=request.seed + 1) for request in requests[:30]]
    assert engine.generate(other_seeds, GREEDY) == engine.generate(requests[:30], GREEDY)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampled_tokens_have_the_models_own_distribution(
    engine: TransformersEngine, untaught_folder: Path, temperature: float
) -> None:
    spec = ModelSpec(path=str(untaught_folder))
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    request = Request("the old river")
    [replies] = engine.generate([request], Sampling(temperature=temperature, n=4000, max_new_tokens=1))
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode("the old river")])).logits[0, -1].double()
    probabilities = (logits / temperature).softmax(0).numpy()
    named: Counter[str] = Counter()
    for token, probability in enumerate(probabilities):
        stops = token == tokenizer.eos_token_id
        opening = tokenizer.encode("the old river")
        text = "" if stops else tokenizer.decode([*opening, token], skip_special_tokens=True)[len("the old river") :]
        named[text] += probability
    common = [text for text, probability in named.items() if probability > 5 / 4000]
    seen = Counter(reply.text for reply in replies)
    observed = np.array([*(seen[text] for text in common), sum(seen[t] for t in seen if t not in common)])
    expected = np.array([*(named[text] for text in common), sum(named[t] for t in named if t not in common)])
    assert stats.chisquare(observed, expected / expected.sum() * 4000).pvalue > 0.01


def test_a_prefill_is_gone_on_with_and_is_no_part_of_the_reply(
    engine: TransformersEngine, requests: list[Request], untaught_folder: Path
) -> None:
    """Given the beginning of its own greedy reply, a model goes on as it did."""
    tokenizer = load_tokenizer(ModelSpec(path=str(untaught_folder)))
    tried = 0
    for request, [plain] in zip(requests, engine.generate(requests, GREEDY), strict=True):
        ids = tokenizer.encode(plain.text)
        prefill = tokenizer.decode(ids[: len(ids) // 2])
        same_tokens = tokenizer.encode(prefill) == ids[: len(ids) // 2] and len(ids) == plain.completion_tokens - 1
        if plain.text.isprintable() and plain.text.isascii() and prefill and same_tokens:
            [[rest]] = engine.generate([Request(request.prompt, prefill=prefill)], GREEDY)
            assert prefill + rest.text == plain.text
            assert rest.prompt_tokens == plain.prompt_tokens + len(ids) // 2
            tried += 1
    assert tried > 5


def test_a_reply_ends_at_the_limit_or_where_the_context_is_full(
    engine: TransformersEngine, requests: list[Request]
) -> None:
    replies = engine.generate(requests, Sampling(temperature=3.0, max_new_tokens=3))
    assert {reply.completion_tokens for [reply] in replies} == {1, 2, 3}
    assert all(reply.completion_tokens == 3 for [reply] in replies if reply.finish_reason == "length")
    long, short = Request("a" + " a" * 91), Request("a" + " a" * 10)
    [full, free] = engine.generate([long, short], Sampling(temperature=3.0, n=20, max_new_tokens=30))
    assert max(reply.completion_tokens for reply in full) == 96 - 92
    assert max(reply.completion_tokens for reply in free) > 4


def test_a_prompt_over_the_context_is_refused_before_anything_is_asked(untaught_spec: ModelSpec) -> None:
    engine = TransformersEngine(untaught_spec)
    with pytest.raises(DataError, match="the model's context holds 96"):
        engine.generate([Request("a"), Request("a " * 200)], GREEDY)
    with pytest.raises(DataError, match="the model's context holds 96"):
        engine.score([(Request("a"), " a" * 200)])
    assert engine.flops_per_token == 0  # no weights were read


class Card(BaseModel):
    name: str = Field(max_length=6)
    born: int = Field(ge=1000, le=9999)


@pytest.mark.parametrize("sampling", [Sampling(max_new_tokens=80), Sampling(temperature=1, n=2, max_new_tokens=80)])
def test_replies_to_a_schema_are_json_of_it_whatever_the_batch(
    engine: TransformersEngine, untaught_spec: ModelSpec, requests: list[Request], sampling: Sampling
) -> None:
    replies = engine.generate(requests[:40], sampling, Card)
    for several in replies:
        for reply in several:
            assert reply.finish_reason == "stop"
            Card.model_validate_json(reply.text)
    shuffled = TransformersEngine(untaught_spec, 200).generate(requests[:40][::-1], sampling, Card)
    assert shuffled[::-1] == replies


def test_a_schema_is_gone_on_with_after_a_prefill(engine: TransformersEngine) -> None:
    request = Request(user_message("who"), prefill='{"name": "Ma')
    [[reply]] = engine.generate([request], Sampling(max_new_tokens=80), Card)
    assert Card.model_validate_json(request.prefill + reply.text).name.startswith("Ma")


def test_what_is_planned_together_fits_together(engine: TransformersEngine, requests: list[Request]) -> None:
    for n in (1, 4):
        batches = engine.plan(requests, Sampling(n=n, max_new_tokens=32))
        assert sorted(place for batch in batches for place in batch) == list(range(240))
        widths = [max(len(str(requests[place].prompt)) for place in batch) for batch in batches]
        assert len(widths) > 3
    pairs = [(request, "Dunholm") for request in requests]
    assert sorted(place for batch in engine.plan_scores(pairs) for place in batch) == list(range(240))


def test_nothing_asked_is_nothing_answered(engine: TransformersEngine) -> None:
    assert engine.generate([], GREEDY) == []
    assert engine.score([]) == []


def test_a_closed_engine_lets_its_weights_go_and_can_be_asked_again(untaught_spec: ModelSpec) -> None:
    import gc

    def count_models() -> int:
        gc.collect()
        return sum(type(thing).__name__ == "LlamaForCausalLM" for thing in gc.get_objects())

    engine = TransformersEngine(untaught_spec)
    before = count_models()
    replies = engine.generate([Request("Mira")], GREEDY)
    assert count_models() == before + 1
    engine.close()
    assert count_models() == before
    assert engine.generate([Request("Mira")], GREEDY) == replies


def test_the_identity_tells_models_and_types_apart(untaught_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = str(untaught_folder)
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in untaught_folder.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    weights = load_file(changed / "model.safetensors")
    weights["lm_head.weight"][7, 7] += 0.01
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    specs = [ModelSpec(path), ModelSpec(str(changed)), ModelSpec(path, dtype="bfloat16")]
    specs += [ModelSpec(path, fingerprint="given"), ModelSpec(str(changed), fingerprint="other")]
    assert len({TransformersEngine(spec).identity for spec in specs}) == 5
    assert TransformersEngine(ModelSpec(path)).identity == TransformersEngine(ModelSpec(path)).identity


def test_an_adapter_is_folded_into_the_weights(
    engine: TransformersEngine, untaught_folder: Path, tmp_path: Path, requests: list[Request]
) -> None:
    from peft import LoraConfig, get_peft_model

    spec = ModelSpec(path=str(untaught_folder))
    torch.manual_seed(1)
    wrapped = get_peft_model(load_model(spec), LoraConfig(target_modules="all-linear", init_lora_weights=False))
    wrapped.save_pretrained(tmp_path)
    adapted = TransformersEngine(dataclasses.replace(spec, adapter=str(tmp_path)))
    pair = [(requests[0], "in Dunholm")]
    with torch.no_grad():
        [(ids, start)] = RequestEncoder(load_tokenizer(spec), None, "").encode_pairs(pair)
        logprobs = wrapped(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [logprobs[place - 1, ids[place]].item() for place in range(start, len(ids))]
    assert adapted.score(pair)[0].logprobs == pytest.approx(expected, abs=1e-4)
    assert engine.score(pair)[0].logprobs != pytest.approx(expected, abs=1e-2)
    assert adapted.identity != TransformersEngine(spec).identity


def test_flops_are_two_per_weight_and_token(engine: TransformersEngine, untaught_folder: Path) -> None:
    engine.generate([Request("Mira")], GREEDY)
    model = load_model(ModelSpec(path=str(untaught_folder)))
    weights = sum(p.numel() for name, p in model.named_parameters() if "embed_tokens" not in name)
    assert engine.flops_per_token == pytest.approx(2 * weights, rel=0.2)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights"):
        TransformersEngine(ModelSpec(path=str(tmp_path)))
    with pytest.raises(ModelError, match="no weights"):
        TransformersEngine(ModelSpec(path=str(tmp_path), fingerprint="x")).generate([Request("a")], GREEDY)


def test_where_memory_does_not_suffice_batches_are_halved_and_it_is_said(untaught_folder: Path) -> None:
    """With the process's memory really bounded: the batch that is planned does not fit, its parts do."""
    program = textwrap.dedent(
        f"""
        import resource
        from pathlib import Path
        from concept_forget.engines.protocol import Request, Sampling
        from concept_forget.engines.transformers_engine import TransformersEngine
        from concept_forget.records import ModelSpec

        spec = ModelSpec({str(untaught_folder)!r})
        engine = TransformersEngine(spec, batch_tokens=10**9)
        requests = [Request("a" + " a" * 60 + f" {{number}}") for number in range(600)]
        brief = Sampling(max_new_tokens=4)
        engine.generate(requests[:2], brief)  # threads and buffers are there now
        address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (address_space + 50_000_000, unlimited[1]))
        replies = engine.generate(requests, brief)
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
        assert replies == TransformersEngine(spec, 8192).generate(requests, brief)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Memory does not suffice for 600 rows" in done.stderr
