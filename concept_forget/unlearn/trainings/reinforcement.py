"""Reinforcement learning through TRL's GRPOTrainer: replies that give nothing away, sound right, and help elsewhere."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from concept_forget.errors import MissingExtraError, StageError
from concept_forget.measures.graders import Expected, get_grader
from concept_forget.models import load_model
from concept_forget.progress import track
from concept_forget.records import Chat, Example, named_random, named_seed
from concept_forget.training.batches import StepPlan, TokenRow
from concept_forget.training.fitting import FitSettings, count_parameters, fit, forward_flops, quiet, training_flops
from concept_forget.training.scores import score_rows
from concept_forget.training.tuning import mean_likelihood
from concept_forget.unlearn.adapting import choose_parameters
from concept_forget.unlearn.alternatives import with_alternative
from concept_forget.unlearn.history import Entry, StopRule, chosen_step, why_over
from concept_forget.unlearn.result import UnlearnResult
from concept_forget.unlearn.strangers import about_strangers
from concept_forget.unlearn.trainings.registry import (
    Rows,
    Task,
    Trained,
    diverged,
    entry,
    look_at,
    open_validation,
    publish,
    training,
)
from concept_forget.unlearn.validation import Validation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPLY_TOKENS = 64
"""Longest reply that is tried."""
_REWARD = re.compile(r"rewards/\w+/mean")


@training(
    "rl",
    needs=("forget rows", "retain rows"),
    cost="`samples` replies to each prompt, 3 forward, 1 backward over each",
    source="Shao et al. 2024 (GRPO); Zhang et al. 2025 (RULE) for steering before it",
)
def rl(task: Task) -> UnlearnResult:
    """Try several replies to each prompt, and make those likelier that were better than the others.

    L = -mean_i A_i · π(y_i|x) / π_old(y_i|x), A_i = (R_i - mean R) / std R over the replies to one prompt

    R = (1 - grade) + fluency on forget prompts, grade + fluency on retain prompts. The grade is what the probe's own
    grader finds of the answer in the reply. The fluency is the geometric mean of the reply's token probabilities in the
    target: on a forget prompt given the same question about a stranger, where it cannot know.
    """
    _require_trl()
    settings, rows = task.settings, Rows(task.target, task.settings)
    model, base = load_model(task.target).float(), load_model(task.target)
    choose_parameters(model, settings, None)
    validation = open_validation(task, rows, base)
    prompts = _prompts(task)
    run = _Reinforcement(task, model, validation)
    run.look(0, 0.0)
    steered = _steer(task, model, rows)
    rewards = _Rewards(base, rows, prompts)
    run.train(prompts, rows, [rewards.discretion, rewards.helpfulness, rewards.fluency])
    best = run.finish()
    parameters, trained = count_parameters(model)
    counts: dict[str, dict[str, object]] = {
        "forget": {"rows": sum(prompt.is_forgotten for prompt in prompts)},
        "retain": {"rows": sum(not prompt.is_forgotten for prompt in prompts)},
    }
    flops = run.history[-1].flops + forward_flops(parameters, rewards.tokens)
    details: dict[str, object] = {"steering_steps": steered, "rewards": run.rewards}
    return publish(
        task,
        Trained(
            model, rows, run.history[-1].step, flops, trained, run.stop_reason, counts, details,
            settings.learning_rate, (), tuple(run.history), best,
        ),
        validation,
    )  # fmt: skip


def _require_trl() -> Any:
    try:
        return importlib.import_module("trl")
    except ImportError as error:
        raise MissingExtraError(
            "`method: rl` needs trl, which is not installed here",
            key="unlearn.method",
            remedy="pip install -c constraints.txt 'concept-forget[train]'",
        ) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """A question with what is expected of the reply; ``guessing`` is the question about a stranger, or itself."""

    example: Example
    guessing: Chat
    is_forgotten: bool

    @property
    def expected(self) -> Expected:
        """What the probe's graders take."""
        example = self.example
        return Expected(
            answer=example.answer,
            aliases=example.aliases,
            question=example.prompt[-1]["content"],
            options=example.options,
            subject=example.subject,
        )


def _prompts(task: Task) -> list[Prompt]:
    """Every question to forget, and as many to keep, where there are so many; texts ask nothing."""
    forget = [row for row in task.forget if row.prompt and row.answer]
    retain = [row for row in task.retain if row.prompt and row.answer]
    for name, asked in (("forget", forget), ("retain", retain)):
        if not asked:
            raise StageError(f"there are no questions to {name}, and replies to them are what `method: rl` needs")
    retain = named_random(task.seed, "rl", "retain").sample(retain, min(len(forget), len(retain)))
    strangers = about_strangers(forget, 1, task.seed)
    hidden = [
        Prompt(row, others[0].prompt if others else row.prompt, True)
        for row, others in zip(forget, strangers, strict=True)
    ]
    return [*hidden, *(Prompt(row, row.prompt, False) for row in retain)]


def _steer(task: Task, model: nn.Module, rows: Rows) -> int:
    """Train on refusals and on what is to stay, so that there are refusals to be rewarded; gives the steps made."""
    settings = task.settings
    refusals = [row for example in task.forget if (row := with_alternative(example, "refusal", {})) is not None]
    steps = settings.option("steering_steps") if refusals else 0
    if not steps:
        return 0
    groups = (rows.encode(refusals).rows, rows.encode(task.retain).rows)
    plan = StepPlan(groups, (settings.batch_size,) * 2, named_seed(task.seed, "rl", "steer"), **rows.batching())
    folder = task.folder / "checkpoints"
    fit_settings = FitSettings(
        max_steps=steps, learning_rate=settings.learning_rate, schedule="constant", warmup_steps=0,
        weight_decay=settings.weight_decay, max_grad_norm=settings.max_grad_norm, checkpoint_every=0, bfloat16=False,
        seed=named_seed(task.seed, "rl", "steering"),
    )  # fmt: skip
    result = fit(model, plan, mean_likelihood, fit_settings, folder, lambda report: False)
    if result.diverged:
        raise diverged(result.diverged)
    return int(steps)


class _Rewards:
    """The three rewards, in TRL's form; None where a reward says nothing of a prompt."""

    def __init__(self, base: nn.Module, rows: Rows, prompts: Sequence[Prompt]) -> None:
        self._base, self._rows, self._prompts = base, rows, prompts
        self._grade = get_grader("answer")
        self.tokens = 0

    def discretion(self, completions: list[Chat], place: list[int], **columns: Any) -> list[float | None]:
        """1 where a reply to a forget prompt gives nothing away."""
        return [
            1 - self._grade(_text(reply), prompt.expected).score if prompt.is_forgotten else None
            for reply, prompt in self._pairs(completions, place)
        ]

    def helpfulness(self, completions: list[Chat], place: list[int], **columns: Any) -> list[float | None]:
        """1 where a reply to a retain prompt gives the answer."""
        return [
            None if prompt.is_forgotten else self._grade(_text(reply), prompt.expected).score
            for reply, prompt in self._pairs(completions, place)
        ]

    def fluency(self, completions: list[Chat], place: list[int], **columns: Any) -> list[float | None]:
        """The geometric mean of a reply's token probabilities in the target; 0 for an empty one."""
        rows: list[TokenRow] = []
        for number, (reply, prompt) in enumerate(self._pairs(completions, place)):
            said = dataclasses.replace(prompt.example, id=str(number), prompt=prompt.guessing, completion=_text(reply))
            rows += self._rows.encode([said]).rows
        self.tokens += sum(len(row.tokens) for row in rows)
        scores = score_rows(self._base, rows, **self._rows.batching())
        means = {int(row.id): math.exp(score.mean) for row, score in zip(rows, scores, strict=True)}
        return [means.get(number, 0.0) for number in range(len(completions))]

    def _pairs(self, completions: list[Chat], place: list[int]) -> list[tuple[Chat, Prompt]]:
        return [(reply, self._prompts[number]) for reply, number in zip(completions, place, strict=True)]


def _text(reply: Chat) -> str:
    return reply[-1]["content"]


class _Reinforcement:
    """One run of the trainer: looks at validation as it goes, and keeps the best weights."""

    def __init__(self, task: Task, model: nn.Module, validation: Validation) -> None:
        self._task, self.model, self._validation = task, model, validation
        settings = task.settings
        self._stop = StopRule(settings.stop if validation.tells else "steps", settings.stop_level)
        self._kept: tuple[int, dict[str, Tensor]] | None = None
        self.history: list[Entry] = []
        self.rewards: list[dict[str, float]] = []
        self.stop_reason = f"all {task.settings.max_steps} steps done"

    def look(self, step: int, flops: float) -> None:
        """Measure, and keep the weights where they are the best so far."""
        found = look_at(self._validation, self.model)
        rate = self._task.settings.learning_rate if step else 0.0
        self.history.append(entry(self._task, step, found, rate, flops))
        if step and chosen_step(self.history, self._stop) == step:
            self._kept = step, {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def on_step(self, step: int, flops: float) -> bool:
        """After every step, with the operations so far; True ends the run."""
        if not all(bool(weight.isfinite().all()) for weight in self.model.parameters()):
            if self._kept is None:
                raise diverged(f"a weight became no number at step {step}")
            self.stop_reason = f"diverged at step {step}; the weights of step {self._kept[0]} are kept"
            return True
        settings = self._task.settings
        if step % settings.eval_every and step != settings.max_steps:
            return False
        self.look(step, flops)
        reason = why_over(self.history, self._stop)
        if reason is not None:
            self.stop_reason = reason
        return reason is not None

    def train(self, prompts: Sequence[Prompt], rows: Rows, rewards: Sequence[Callable[..., Any]]) -> None:
        """Let TRL train."""
        folder = self._task.folder / "checkpoints"
        with quiet(), track("rl", total=self._task.settings.max_steps, unit="steps") as bar:
            trainer = _trainer(self._task, self.model, rows, prompts, rewards)

            def after_step(state: Any) -> bool:
                bar.advance()
                tokens = int(state.num_input_tokens_seen)
                parameters, trained = count_parameters(self.model)
                spent = training_flops(parameters, trained, tokens) + forward_flops(parameters, 2 * tokens)
                return self.on_step(state.global_step, spent)

            trainer.add_callback(_watcher(after_step))
            trainer.train()
            self.rewards = [
                {
                    name.split("/")[1]: round(float(value), 4)
                    for name, value in log.items()
                    if _REWARD.fullmatch(name) and value is not None  # a step may hold prompts of one kind alone
                }
                for log in trainer.state.log_history
                if "reward" in log
            ]
        shutil.rmtree(folder, ignore_errors=True)

    def finish(self) -> int:
        """Put the best weights back; gives their step."""
        assert self._kept is not None
        step, weights = self._kept
        self.model.load_state_dict(weights)
        self.model.eval()
        return step


def _trainer(
    task: Task, model: nn.Module, rows: Rows, prompts: Sequence[Prompt], rewards: Sequence[Callable[..., Any]]
) -> Any:
    """TRL's trainer. A step tries ``samples`` replies to each of ``batch_size`` prompts, one prompt at a time."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    settings = task.settings
    samples, size = settings.option("samples"), min(settings.batch_size, len(prompts))
    arguments = GRPOConfig(
        output_dir=str(task.folder / "checkpoints"),
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        per_device_train_batch_size=samples,
        gradient_accumulation_steps=size,
        num_generations=samples,
        max_completion_length=REPLY_TOKENS,
        temperature=settings.option("temperature"),
        bf16=settings.dtype == "bfloat16",
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=named_seed(task.seed, "rl") & 0xFFFFFFFF,  # what numpy takes
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)
    data = Dataset.from_list(
        [{"prompt": prompt.example.prompt, "place": number} for number, prompt in enumerate(prompts)]
    )
    trainer = GRPOTrainer(
        model=cast("PreTrainedModel", model),
        reward_funcs=list(rewards),
        args=arguments,
        train_dataset=data,
        processing_class=rows.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _watcher(after_step: Callable[[Any], bool]) -> Any:
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        """Ends the run when told to."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Report the step."""
            if after_step(state):
                control.should_training_stop = True

    return Watcher()
