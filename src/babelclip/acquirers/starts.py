"""How modules start where they start as ``torch.nn.Linear`` does."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor


def linear_start(generator: torch.Generator, *size: int, fan_in: int | None = None) -> Tensor:
    """Return weights as ``torch.nn.Linear`` starts them: uniform in +-1 / sqrt(fan_in), by default the last size."""
    bound = 1 / sqrt(size[-1] if fan_in is None else fan_in)
    return torch.empty(size).uniform_(-bound, bound, generator=generator)
