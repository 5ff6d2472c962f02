"""One optimiser step, in the papers' order (2.6): clip, decay, scale, moments, update."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from babelclip.config import TaskSettings
from babelclip.encoders import DualEncoder
from babelclip.encoders.tower import encode_batch
from babelclip.errors import ModelError
from babelclip.methods import Stack, Step, Task
from babelclip.objectives import contrastive, distillation
from babelclip.training.batches import Batch
from babelclip.training.table import CompactTable
from babelclip.training.workers import Workers

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.001, 0.5


class TaskTrainer:
    """Trains the rows of one task; optimiser state and temperature are new for each.

    Attributes:
        table: the rows in training.
        temperature: the learnable scalar of the contrastive term.
        rates: learning rate of each step so far; 0 for a step that float16 overflowed in and that was left out.
        workers: the processes that share the batches, and the precision of the tower.
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
        self.workers = Workers(encoder.device, settings.precision)
        self.table = CompactTable(lexicon.table, row_ids, encoder.device)
        self.scale = method.row_scale(task)
        rows = self.table.rows
        self._gradient_scale = self.scale.gradient[row_ids, None].to(rows)
        self._decay_scale = self.scale.decay[row_ids, None].to(rows)
        self.temperature = nn.Parameter(torch.tensor(settings.temperature, device=encoder.device, dtype=rows.dtype))
        self.rates: list[float] = []
        self._warm_up = int(settings.warm_up * total_steps)
        self._eos = int(self.table.localise(torch.tensor(lexicon.eos)))
        # The decay of the rows is ours, because it is scaled by row; the temperature is not decayed.
        self._optimiser = torch.optim.AdamW(
            [rows, self.temperature], lr=settings.learning_rate, weight_decay=0.0,
            betas=(settings.beta1, settings.beta2), eps=settings.epsilon, fused=True,
        )  # fmt: skip
        self._scaler = self.workers.scaler()

    def encode(self, ids: Tensor) -> Tensor:
        """Return (B, dim) student vectors of (B, L) token ids, with gradient to the rows."""
        local = self.table.localise(ids)
        with self.workers.autocast():
            vectors = encode_batch(self.encoder, self.table.rows, local, self._eos)
        return vectors.to(self.table.rows.dtype)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss: L = cross_lingual L_cl + cross_modal L_cm + what methods add."""
        with torch.no_grad():
            self.temperature.clamp_(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
        rows = self.table.rows
        teachers, images = batch.teachers.to(rows), batch.images.to(rows)
        size = len(batch.ids)
        texts = self.workers.gather(self.encode(batch.ids[self.workers.part(size)]), size)
        terms = {}
        if self.settings.cross_lingual:
            terms["cross_lingual"] = self.settings.cross_lingual * distillation(texts, teachers)
        if self.settings.cross_modal:
            loss = contrastive(texts, images, batch.image_ids.to(rows.device), self.temperature)
            terms["cross_modal"] = self.settings.cross_modal * loss
        step = Step(self.table.row_ids, rows, texts, teachers, images)
        return terms | self.method.loss_terms(self.task, step)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up from 0, then constant."""
        if step < self._warm_up:
            return self.settings.learning_rate * step / self._warm_up
        return self.settings.learning_rate

    def backward(self, losses: dict[str, Tensor]) -> float:
        """Form the gradient of the summed loss and clip its global norm, special tokens included.

        Returns:
            The norm before clipping.
        """
        parameters = [self.table.rows, self.temperature]
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(self.workers.mean(parameter.grad))
        if self._scaler.is_enabled():
            self._scaler.unscale_(self._optimiser)
        return float(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm))

    @torch.no_grad()
    def update(self) -> None:
        """Decay, scale, and let Adam move the rows.

        row <- row (1 - rate decay s); g <- s g; Adam's moments from the scaled g; update with bias correction. With
        ``scale_at="update"`` the gradient is not scaled and the change that Adam makes to a row is multiplied by s.
        """
        rate = self.rate(len(self.rates))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
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

    def step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch; return its weighted loss terms and the gradient norm before clipping.

        Raises:
            ModelError: the loss or its gradient is not finite; the rows are as they were before.
        """
        losses = self.losses(batch)
        norm = self.backward(losses)
        terms = {name: float(term.detach()) for name, term in losses.items()}
        loss = sum(terms.values())
        overflow = self._scaler.is_enabled() and math.isfinite(loss)  # a smaller scale mends the gradient
        if not math.isfinite(norm) and not overflow:
            what = f"the loss became {loss}" if not math.isfinite(loss) else f"the gradient's norm became {norm}"
            raise ModelError(
                f"{what} in step {len(self.rates) + 1} of {self.task.language!r}",
                fix=f"Lower learning_rate (now {self.settings.learning_rate}).",
            )
        if math.isfinite(norm):
            self.update()
        else:
            self.rates.append(0.0)
        if self._scaler.is_enabled():
            self._scaler.update()
        return terms | {"gradient_norm": norm}

    def full_table(self, rows: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Return the whole (V, width) table as it stands now, or stood with ``rows`` after ``steps``."""
        return self.table.full(self.rates[:steps], self.settings.weight_decay, self.scale.decay, rows=rows)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, as copies on the CPU."""
        state: dict[str, Tensor] = {"rows": self.table.rows, "temperature": self.temperature}
        for name, parameter in list(state.items()):
            for key, value in self._optimiser.state[parameter].items():
                state[f"{name}.{key}"] = value
        for key, value in self._scaler.state_dict().items():
            state[f"scaler.{key}"] = torch.tensor(value)
        state["rates"] = torch.tensor(self.rates, dtype=torch.float64)
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state_dict`` was taken; the next step is the same bit for bit.

        Raises:
            KeyError: something is missing.
        """
        for name, parameter in (("rows", self.table.rows), ("temperature", self.temperature)):
            with torch.no_grad():
                parameter.copy_(state[name])
            start = f"{name}."
            # The fused optimiser wants all of its state on the parameter's device, its step count too.
            self._optimiser.state[parameter] = {
                key.removeprefix(start): value.to(parameter.device).clone()
                for key, value in state.items()
                if key.startswith(start)
            }
        if self._scaler.is_enabled():
            names = {key.removeprefix("scaler."): value.item() for key, value in state.items() if "scaler." in key}
            self._scaler.load_state_dict(names)
        self.rates = state["rates"].tolist()
