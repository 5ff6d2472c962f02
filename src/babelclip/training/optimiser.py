"""What a task trains, what decays, and the optimiser; all of it by settings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from babelclip.config import TaskSettings
from babelclip.errors import SettingError
from babelclip.methods import RowScale
from babelclip.training.bert_adam import BertAdam


def choose_parameters(offered: Mapping[str, Tensor], settings: TaskSettings) -> dict[str, Tensor]:
    """Return what the settings do not freeze of what can be trained; gradients flow to that alone.

    Raises:
        SettingError: everything is frozen, or what is to be frozen does not exist.
    """
    beginnings = tuple(settings.frozen.split())
    chosen = {name: one for name, one in offered.items() if not name.startswith(beginnings)}
    unknown = [one for one in beginnings if not any(name.startswith(one) for name in offered)]
    if unknown or not chosen:
        kinds = dict.fromkeys(name.split("/")[0] + "/" * ("/" in name) for name in offered)
        what = f"has no {unknown[0]!r}" if unknown else "leaves nothing to train"
        raise SettingError(f"frozen={settings.frozen!r} {what}", fix=f"This task can train {', '.join(kinds)}.")
    for name, one in offered.items():
        one.requires_grad_(name in chosen)
    return chosen


def keep_idle(scale: RowScale, row_ids: Tensor, settings: TaskSettings) -> RowScale:
    """Return the scale with which idle rows decay only if the settings say so, and frozen rows never.

    Args:
        scale: what the methods ask for.
        row_ids: (R,) rows that the task trains.
        settings: ``idle_decay`` and ``frozen``.
    """
    frozen = "rows".startswith(tuple(settings.frozen.split()))
    if settings.idle_decay and not frozen:
        return scale
    decay = torch.zeros_like(scale.decay)
    if not frozen:
        decay[row_ids] = scale.decay[row_ids]
    return RowScale(scale.gradient, decay)


def make_optimiser(parameters: list[Tensor], settings: TaskSettings) -> torch.optim.Optimizer:
    """Return the optimiser; a group for each parameter if each has a clock of its own, else one for all.

    Its decay is 0: ours is scaled by row, and vectors have none.
    """
    together = [parameters] if settings.clock == "task" else [[parameter] for parameter in parameters]
    groups = [{"params": part} for part in together]
    rate, betas, epsilon = settings.learning_rate, (settings.beta1, settings.beta2), settings.epsilon
    if settings.optimiser == "bert-adam":
        return BertAdam(groups, rate, betas=betas, eps=epsilon)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=0.0, betas=betas, eps=epsilon, fused=True)
