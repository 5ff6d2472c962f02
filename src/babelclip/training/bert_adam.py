"""Adam without bias correction, as BERT was trained and MLA's released code trains (papers 1.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class BertAdam(torch.optim.Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - rate m / (sqrt(v) + epsilon).

    The moments start at 0 and are not corrected for it. A parameter without gradient in a step keeps value and moments:
    so do the modules of a language that is not in the batch. Decay is the caller's.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[Mapping[str, Any]], lr: float, *,
        betas: tuple[float, float] = (0.9, 0.98), eps: float = 1e-6,
    ) -> None:  # fmt: skip
        """Optimise parameters; the names are torch's."""
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})  # type: ignore[arg-type]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            (beta1, beta2), rate, epsilon = group["betas"], group["lr"], group["eps"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
                mean, square = state["exp_avg"], state["exp_avg_sq"]
                mean.lerp_(parameter.grad, 1 - beta1)
                square.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
                parameter.addcdiv_(mean, square.sqrt().add_(epsilon), value=-rate)
