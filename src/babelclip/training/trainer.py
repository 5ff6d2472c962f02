"""One optimiser step, in the papers' order (2.6): clip, decay, scale, moments, update."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from babelclip.config import TaskSettings
from babelclip.encoders import DualEncoder
from babelclip.encoders.tower import first_ends
from babelclip.methods import Stack, Step, Task
from babelclip.objectives import contrastive, distillation
from babelclip.training.table import CompactTable

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.001, 0.5


@dataclass(frozen=True)
class Batch:
    """Texts of one step.

    Attributes:
        ids: (B, L) token ids, padded with end-of-text.
        image_ids: (B,) equal where two texts share an image.
        teachers: (B, dim) English teacher vectors.
        images: (B, dim) image vectors.
    """

    ids: Tensor
    image_ids: Tensor
    teachers: Tensor
    images: Tensor


class TaskTrainer:
    """Trains the rows of one task; optimiser state and temperature are new for each.

    Attributes:
        table: the rows in training.
        temperature: the learnable scalar of the contrastive term.
        rates: learning rate of each step so far.
    """

    def __init__(
        self, encoder: DualEncoder, task: Task, method: Stack, settings: TaskSettings, *, total_steps: int
    ) -> None:
        """Prepare a task.

        Args:
            encoder: the frozen base model.
            task: its lexicon has grown already.
            method: what is added against forgetting.
            settings: rates and weights.
            total_steps: for the warm-up.
        """
        lexicon = task.lexicon
        specials = torch.tensor([lexicon.bos, lexicon.eos])
        row_ids = torch.cat([task.used, specials]).unique()
        self.encoder, self.task, self.method, self.settings = encoder, task, method, settings
        self.table = CompactTable(lexicon.table, row_ids, encoder.device)
        self.scale = method.row_scale(task)
        self._gradient_scale = self.scale.gradient[row_ids, None].to(self.table.rows)
        self._decay_scale = self.scale.decay[row_ids, None].to(self.table.rows)
        self.temperature = nn.Parameter(torch.tensor(settings.temperature, device=encoder.device))
        self.rates: list[float] = []
        self._warm_up = int(settings.warm_up * total_steps)
        self._eos = int(self.table.localise(torch.tensor(lexicon.eos)))
        # The decay of the rows is ours, because it is scaled by row; the temperature is not decayed.
        self._optimiser = torch.optim.AdamW(
            [self.table.rows, self.temperature], lr=settings.learning_rate, weight_decay=0.0,
            betas=(settings.beta1, settings.beta2), eps=settings.epsilon, fused=True,
        )  # fmt: skip

    def encode(self, ids: Tensor) -> Tensor:
        """Return (B, dim) student vectors of (B, L) token ids, with gradient to the rows."""
        local = self.table.localise(ids).to(self.encoder.device)
        return self.encoder.text_tower(embedding(local, self.table.rows), first_ends(local, self._eos))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss: L = cross_lingual L_cl + cross_modal L_cm + what methods add."""
        with torch.no_grad():
            self.temperature.clamp_(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
        device = self.encoder.device
        teachers, images = batch.teachers.to(device), batch.images.to(device)
        texts = self.encode(batch.ids)
        terms = {}
        if self.settings.cross_lingual:
            terms["cross_lingual"] = self.settings.cross_lingual * distillation(texts, teachers)
        if self.settings.cross_modal:
            loss = contrastive(texts, images, batch.image_ids.to(device), self.temperature)
            terms["cross_modal"] = self.settings.cross_modal * loss
        step = Step(self.table.row_ids, self.table.rows, texts, teachers, images)
        return terms | self.method.loss_terms(self.task, step)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up from 0, then constant."""
        if step < self._warm_up:
            return self.settings.learning_rate * step / self._warm_up
        return self.settings.learning_rate

    def step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch; return its weighted loss terms and the gradient norm before clipping.

        1. clip the global norm, special tokens included; 2. row <- row (1 - rate decay s); 3. g <- s g;
        4. Adam's moments from the scaled g; 5. update with bias correction.

        With ``scale_at="update"``, 3. is left out and the change that 5. makes to a row is multiplied by s instead.
        """
        losses = self.losses(batch)
        self._optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_([self.table.rows, self.temperature], self.settings.clip_norm)
        rate = self.rate(len(self.rates))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with torch.no_grad():
            rows = self.table.rows
            rows.mul_(1 - rate * self.settings.weight_decay * self._decay_scale)
            if self.settings.scale_at == "gradient":
                if rows.grad is not None:
                    rows.grad.mul_(self._gradient_scale)
                self._optimiser.step()
            else:
                before = rows.clone()
                self._optimiser.step()
                rows.copy_(before + self._gradient_scale * (rows - before))
        self.rates.append(rate)
        return {name: float(term.detach()) for name, term in losses.items()} | {"gradient_norm": float(norm)}

    def full_table(self) -> Tensor:
        """Return the whole (V, width) table as it stands now, decay of idle rows included."""
        return self.table.full(self.rates, self.settings.weight_decay, self.scale.decay)
