"""One step of a whole CLIP, in MLA's order (papers 1.5): clip each tensor, decay, Adam without bias correction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import CLIPModel

from babelclip.errors import ModelError
from babelclip.objectives import contrastive
from babelclip.training.bert_adam import BertAdam
from babelclip.training.pairs import PairBatch

if TYPE_CHECKING:
    from babelclip.training.tune import TuneSettings

TEMPERATURE = 0.01
"""Fixed: cosine similarities times 100."""


class Tuner:
    """Trains all weights of a model but ``logit_scale``.

    Attributes:
        model: trained in place.
        parameters: what is trained, by name.
        kept: the weights of the best epoch so far, by name, on the CPU; empty without validation.
        done: steps made.
        steps: steps to make, for the schedule.
    """

    def __init__(self, model: CLIPModel, settings: TuneSettings, *, steps: int, device: torch.device) -> None:
        """Prepare; the optimiser's moments are 0."""
        self.model, self.settings, self.steps, self.device, self.done = model, settings, steps, device, 0
        self.parameters: dict[str, Tensor] = {
            name: one for name, one in model.named_parameters() if name != "logit_scale"
        }
        self.kept: dict[str, Tensor] = {}
        self._optimiser = BertAdam(
            self.parameters.values(), lr=settings.learning_rate, betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
        )  # fmt: skip

    def rate(self, done: int) -> float:
        """Learning rate of the step after ``done`` of them: with x = done / steps, x / warm_up, then (1 + cos pi x)/2.

        So it drops from the peak to 0.976 of it where the default warm-up ends, as released.
        """
        x = done / self.steps
        factor = x / self.settings.warm_up if x < self.settings.warm_up else 0.5 * (1 + math.cos(math.pi * x))
        return self.settings.learning_rate * factor

    def loss(self, batch: PairBatch) -> Tensor:
        """Return the symmetric InfoNCE of a batch: L = 1/2 [CE(100 V T^T) + CE(100 T V^T)].

        A picture that has several texts in the batch is encoded once. Its texts are positives of each other's picture
        here, negatives in the released code; because its vector is the same each time, loss and gradient are equal.
        """
        place = batch.place.to(self.device)
        output = self.model(input_ids=batch.ids.to(self.device), pixel_values=batch.pixels.to(self.device))
        return contrastive(output.text_embeds, output.image_embeds[place], place, TEMPERATURE)

    def step(self, batch: PairBatch) -> tuple[float, float, float]:
        """Train on a batch.

        g <- g min(1, clip_norm / ||g||) for each tensor; p <- p (1 - rate decay) for matrices; then ``BertAdam``.

        Returns:
            Loss, gradient norm of all tensors together before clipping, and learning rate.

        Raises:
            ModelError: the loss or its gradient is not finite; the weights are as they were before.
        """
        self._optimiser.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        norms = [
            nn.utils.clip_grad_norm_([one], self.settings.clip_norm)
            for one in self.parameters.values()
            if one.grad is not None
        ]
        found, norm, rate = float(loss.detach()), float(torch.stack(norms).norm()), self.rate(self.done)
        if not (math.isfinite(found) and math.isfinite(norm)):
            what = f"the loss became {found}" if not math.isfinite(found) else f"the gradient's norm became {norm}"
            raise ModelError(
                f"{what} in step {self.done + 1} of tuning",
                fix=f"Lower learning_rate (now {self.settings.learning_rate}).",
            )
        with torch.no_grad():
            for one in self.parameters.values():
                if one.dim() > 1:
                    one.mul_(1 - rate * self.settings.weight_decay)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self.done += 1
        return found, norm, rate

    def keep(self) -> None:
        """Remember the weights as they are now."""
        self.kept = {name: one.detach().cpu().clone() for name, one in self.parameters.items()}

    def take_kept(self) -> None:
        """Go back to the weights remembered last, if any were."""
        with torch.no_grad():
            for name, value in self.kept.items():
                self.parameters[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, and what is kept, as copies on the CPU."""
        state = {f"model.{name}": one for name, one in self.parameters.items()}
        for name, one in self.parameters.items():
            state |= {f"{key}.{name}": value for key, value in self._optimiser.state[one].items()}
        state |= {f"kept.{name}": one for name, one in self.kept.items()} | {"done": torch.tensor(self.done)}
        return {name: one.detach().cpu().clone() for name, one in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state_dict`` was taken; the next step is the same bit for bit.

        Raises:
            KeyError: something is missing.
        """
        self.done = int(state["done"])
        with torch.no_grad():
            for name, one in self.parameters.items():
                one.copy_(state[f"model.{name}"])
                moments = {key: state.get(f"{key}.{name}") for key in ("exp_avg", "exp_avg_sq")}
                self._optimiser.state[one] = {
                    key: value.to(one.device).clone() for key, value in moments.items() if value is not None
                }
        self.kept = {name.removeprefix("kept."): value for name, value in state.items() if name.startswith("kept.")}
