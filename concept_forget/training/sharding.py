"""Weights divided among processes (FSDP): each holds a part of every tensor, and gathers a layer while it runs.

The launcher says whether (``accelerate launch`` with ``distributed_type: FSDP``), and accelerate does it. What runs or
saves such a model has to do so in all processes alike: a process that stays away leaves the others waiting.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from concept_forget.errors import ConfigError
from concept_forget.training.processes import is_main_process, is_sharded, join_processes, process_count

_CONFIG = "pipelines/accelerate/fsdp.yaml"


def check_launcher() -> None:
    """Refuse what a launcher may ask of a sharded model and this program cannot do.

    Raises:
        ConfigError: FSDP of another version than 2, weights kept off the accelerator, or its own checkpointing of
            activations.
    """
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError(
            "the launcher shards the model with FSDP 1",
            remedy=f"set `fsdp_version: 2` in its config, as {_CONFIG} does",
        )
    for name, remedy in (
        ("OFFLOAD_PARAMS", "more processes, an adapter, or `unlearn.dtype: bfloat16` spare memory too"),
        ("ACTIVATION_CHECKPOINTING", "set `unlearn.gradient_checkpointing: true` in the run's config instead"),
    ):
        if os.environ.get(f"FSDP_{name}", "false").lower() == "true":
            raise ConfigError(
                f"the launcher's config sets `fsdp_{name.lower()}`, which is not supported",
                remedy=f"set it to false; {remedy}",
            )


def shard(model: nn.Module, *, bfloat16: bool) -> None:
    """Divide a model among the processes, in place, on their accelerators, where the launcher wants it.

    Args:
        model: In the machine's own memory, the same in every process; what is frozen stays so.
        bfloat16: Gather weights in bfloat16. Gradients are added up in float32 in any case.

    Raises:
        ConfigError: There are more processes than rows in a matrix that is trained.
    """
    if not is_sharded():
        return
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import FullyShardedDataParallelPlugin, fsdp2_prepare_model
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

    _check_sizes(model)
    AcceleratorState._reset_state(reset_partial_state=True)  # for the precision of an earlier training may be another
    join_processes()
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bfloat16 else None
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="bf16" if bfloat16 else "no",
        fsdp_plugin=FullyShardedDataParallelPlugin(mixed_precision_policy=policy),
    )
    fsdp2_prepare_model(accelerator, model)
    if torch.distributed.get_backend() == "gloo":  # it adds up, and takes no means
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)


def _check_sizes(model: nn.Module) -> None:
    """A part without elements has no address, and by these the Trainer's optimiser finds its parts."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and len(weight) < process_count():
            raise ConfigError(
                f"{name} has {len(weight)} rows, too few for {process_count()} processes that each hold some",
                remedy="use fewer processes, or a larger `unlearn.lora.rank`",
            )


def gather_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """A sharded model's weights by name, whole and in the machine's own memory; of an adapted one, the adapter's alone.

    All processes have to call it together. None where the model is not sharded and holds them itself; empty in every
    process but the first.
    """
    if not is_sharded():
        return None
    from torch.distributed.tensor import DTensor

    state = model.state_dict()
    adapter = getattr(getattr(model, "base_model", None), "prefix", "")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    gathered: dict[int, Tensor] = {}  # tied weights stay one
    whole: dict[str, Tensor] = {}
    for name, part in state.items():
        if adapter not in name:
            continue
        key = id(parameters.get(name, part))
        if key not in gathered:
            full = part.full_tensor() if isinstance(part, DTensor) else part
            gathered[key] = full.cpu() if is_main_process() else full.new_empty(0)
        whole[name] = gathered[key]
    return whole if is_main_process() else {}


def release_gathered(model: nn.Module) -> None:
    """Let go of the layers that a forward pass of a sharded model left gathered.

    They would be in the way of whatever looks at its parameters next, and stale once these are written to.
    """
    if not is_sharded():
        return
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
