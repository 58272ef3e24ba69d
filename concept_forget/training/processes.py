"""Several processes that train one model together, as ``accelerate launch`` starts them.

The first does everything but training alone; the others wait for it and train along. Importing this loads no torch.
"""

from __future__ import annotations

import atexit
import datetime
import functools
import os
from typing import Any, TypeVar

_Value = TypeVar("_Value")

_PATIENCE = datetime.timedelta(days=7)
"""How long a process waits for another: writing data or probing between two trainings may take its time."""


def process_count() -> int:
    """How many processes there are; 1 where no launcher started this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_main_process() -> bool:
    """Whether this is the process that writes files and talks to the user."""
    return process_count() == 1 or int(os.environ.get("RANK", "0")) == 0


def is_sharded() -> bool:
    """Whether the launcher wants the weights that are trained divided among the processes (FSDP)."""
    return process_count() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def join_processes() -> None:
    """Meet the other processes, where there are any: through gloo on processors, as the launcher says elsewhere."""
    if process_count() > 1:
        import torch
        from accelerate import PartialState
        from accelerate.utils import disable_fsdp_ram_efficient_loading

        PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
        _leave_at_exit()
        if is_sharded():
            disable_fsdp_ram_efficient_loading()  # which leaves every model empty but the first process's


@functools.cache
def _leave_at_exit() -> None:
    """Let go of the others before the interpreter ends, whose threads would else now and then abort this process."""
    from accelerate import PartialState

    atexit.register(PartialState().destroy_process_group)


def wait_for_everyone() -> None:
    """Go on when all processes have come this far."""
    if process_count() > 1:
        from accelerate import PartialState

        join_processes()
        PartialState().wait_for_everyone()


def send_order(order: object) -> None:
    """Tell the other processes what to do; None: nothing any more."""
    if process_count() > 1:
        from accelerate.utils import broadcast_object_list

        join_processes()
        broadcast_object_list([order])


def receive_order() -> Any:
    """Wait for the first process to tell what to do."""
    from accelerate.utils import broadcast_object_list

    join_processes()
    (order,) = broadcast_object_list([None])
    return order


def from_first(value: _Value) -> _Value:
    """What the first process has: for whatever decides which way all of them go on."""
    if process_count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    shared: list[_Value] = broadcast_object_list([value])
    return shared[0]


def add_up(parts: dict[str, float]) -> dict[str, float]:
    """Sums by name over all processes, in the order of the processes; names may differ between them."""
    if process_count() == 1:
        return parts
    from accelerate.utils import gather_object

    total: dict[str, float] = {}
    for own in gather_object([parts]):
        for name, value in own.items():
            total[name] = total.get(name, 0.0) + value
    return total
