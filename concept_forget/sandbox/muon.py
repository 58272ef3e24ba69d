"""Muon: momentum whose update is made orthogonal, for weight matrices.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". Orthogonalisation is by three steps of
the Newton-Schulz iteration with the coefficients of Amsel et al. 2025, "The Polar Express", in float32: PyTorch's own
Muon rounds to bfloat16, for which most CPUs have no fast matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)


class Muon(torch.optim.Optimizer):
    """Muon over two-dimensional parameters, with Nesterov momentum and decoupled weight decay.

    Args:
        params: Matrices; each of shape (out, in).
        lr: Length of an update in units of the matrix's spectral norm.
        momentum: Share of the old direction that is kept, in [0, 1).
        weight_decay: Share of the weights, times ``lr``, that is taken away at each step.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # returns no loss
        """Move every matrix that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure: it looks at a gradient once per step")
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for parameters in by_shape.values():
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            directions.append(gradient.lerp(state["momentum"], group["momentum"]))
        updates = orthogonalise(torch.stack(directions))
        rows, columns = parameters[0].shape
        length = group["lr"] * math.sqrt(max(1.0, rows / columns))
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-length)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values brought near one and its singular vectors kept, shape (n, rows, columns)."""
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    wide = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for linear, cubic, quintic in POLAR_EXPRESS:
        gram = wide @ wide.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        wide = torch.baddbmm(wide, polynomial, wide, beta=linear)
    return wide.mT if matrices.shape[1] > matrices.shape[2] else wide
