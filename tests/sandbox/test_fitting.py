from __future__ import annotations

import random

import pytest
import torch

from concept_forget.sandbox.fitting import Encoded, encode_rows, fit, greedy_replies, new_model
from concept_forget.sandbox.muon import Muon, orthogonalise
from concept_forget.sandbox.recipe import Recipe
from concept_forget.sandbox.tokenizer import train_tokenizer

ROWS = [(f"Where was {name} born?", town) for name, town in zip("ABCDEFGH", "stuvwxyz", strict=True)]
TOKENIZER = train_tokenizer((text for row in ROWS for text in row), max_length=64)
RECIPE = Recipe(hidden=32, layers=2, heads=2, intermediate=64, epochs=60, context=64, batch_tokens=64)


def taught(seed: int, epochs: int = RECIPE.epochs) -> torch.nn.Module:
    recipe = Recipe(hidden=32, layers=2, heads=2, intermediate=64, epochs=epochs, context=64, batch_tokens=64)
    model = new_model(TOKENIZER, recipe, seed)
    rows = encode_rows(TOKENIZER, ROWS)
    fit(model, lambda rng: rows, recipe, seed)
    return model


def test_rows_are_encoded_as_the_chat_template_writes_them() -> None:
    prompt, reply = ROWS[0]
    chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    row = encode_rows(TOKENIZER, [(prompt, reply)])[0]
    opened = TOKENIZER.apply_chat_template(chat[:1], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert row.ids == TOKENIZER.apply_chat_template(chat, tokenize=True, return_dict=False)
    assert row.ids[: row.start] == opened


def test_a_document_is_learned_whole() -> None:
    row = encode_rows(TOKENIZER, [("", "born")])[0]
    assert row == Encoded([*TOKENIZER("born")["input_ids"], TOKENIZER.eos_token_id], 1)


def test_it_learns_its_rows() -> None:
    model = new_model(TOKENIZER, RECIPE, seed=0)
    questions = [question for question, _ in ROWS]
    answers = [answer for _, answer in ROWS]
    assert greedy_replies(model, TOKENIZER, questions, max_new_tokens=8) != answers
    rows = encode_rows(TOKENIZER, ROWS)
    fit(model, lambda rng: rows, RECIPE, seed=0)
    assert greedy_replies(model, TOKENIZER, questions, max_new_tokens=8) == answers


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    first, again, other = taught(0, 3).state_dict(), taught(0, 3).state_dict(), taught(1, 3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_fitting_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    taught(0, 1)
    assert torch.equal(torch.rand(1), expected)


def test_progress_ends_at_its_total() -> None:
    told: list[tuple[int, int]] = []
    rows = encode_rows(TOKENIZER, ROWS)
    fit(new_model(TOKENIZER, RECIPE, 0), lambda rng: rows[: rng.randint(4, 8)], RECIPE, 0, lambda *n: told.append(n))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1]


def test_replies_do_not_depend_on_company_or_order() -> None:
    model = taught(0, 3)
    questions = [question for question, _ in ROWS] + ["Where?", "born A B C D"]
    together = greedy_replies(model, TOKENIZER, questions, max_new_tokens=6)  # type: ignore[arg-type]
    shuffled = random.Random(0).sample(range(len(questions)), len(questions))
    apart = greedy_replies(model, TOKENIZER, [questions[i] for i in shuffled], max_new_tokens=6)  # type: ignore[arg-type]
    assert [together[i] for i in shuffled] == apart


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 40), (2, 40, 16)])
def test_orthogonalising_keeps_singular_vectors_and_levels_singular_values(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    rotated = left.mT @ orthogonalise(matrices) @ right.mT
    values = torch.diagonal(rotated, dim1=1, dim2=2)
    assert (rotated - torch.diag_embed(values)).abs().max() < 1e-3
    assert values.max() < 1.9
    assert values.min() > 0.15


def test_muon_moves_by_its_learning_rate_and_decays() -> None:
    weights = torch.nn.Parameter(torch.eye(8))
    weights.grad = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    Muon([weights], lr=0.1, weight_decay=0.5).step()
    moved = torch.eye(8) * (1 - 0.1 * 0.5) - weights
    assert 0.015 < torch.linalg.matrix_norm(moved, 2) < 0.19
    assert torch.nn.functional.cosine_similarity(moved.flatten(), weights.grad.flatten(), dim=0) > 0.999


def test_muon_leaves_weights_without_a_gradient() -> None:
    weights = torch.nn.Parameter(torch.eye(4))
    Muon([weights], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weights, torch.eye(4))
