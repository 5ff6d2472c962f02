"""One optimiser step, in the papers' order (1.5, 2.6): clip, decay, scale, moments, update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from babelclip.acquirers import Acquirers
from babelclip.config import TaskSettings
from babelclip.data import Batch
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import Insert
from babelclip.encoders.tower import encode_batch, pad
from babelclip.errors import ModelError, SettingError
from babelclip.methods import Stack, Step, Task
from babelclip.objectives import contrastive, distillation, sigmoid
from babelclip.training.optimiser import choose_parameters, keep_idle, make_optimiser
from babelclip.training.table import CompactTable
from babelclip.training.workers import Workers

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.001, 0.5


def sigmoid_of(encoder: DualEncoder) -> tuple[float, float]:
    """Return the scale and the bias of a base model that was trained with a sigmoid loss.

    Raises:
        SettingError: it was trained with a softmax.
    """
    if encoder.bias is None:
        raise SettingError(
            f"cross_modal_loss is 'sigmoid', but {encoder.name} was trained with a softmax and has no bias for it",
            fix="Take nce, or a base model of the SigLIP families.",
        )
    return encoder.scale, encoder.bias


class TaskTrainer:
    """Trains the rows of one task, and modules of the tower; optimiser state and temperature are new for each.

    Attributes:
        table: the rows in training.
        modules: what is put into the tower; the task's own modules are in training.
        parameters: what is trained, by name: ``rows``, and modules as ``kind/owner/name``.
        start: the same before the first step of the task.
        temperature: the scalar of the contrastive term, learnable unless the settings fix it.
        rates: learning rate of each step so far; 0 for a step that float16 overflowed in and that was left out.
        workers: the processes that share the batches, and the precision of the tower.
    """

    def __init__(
        self, encoder: DualEncoder, task: Task, method: Stack, settings: TaskSettings, *, total_steps: int,
        modules: Acquirers | None = None, start: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Prepare a task.

        Args:
            encoder: the frozen base model.
            task: its lexicon has grown already.
            method: what is added against forgetting.
            settings: rates and weights.
            total_steps: for the warm-up.
            modules: trained in place, on the encoder's device.
            start: parameters before the first step of the task, where an earlier stage has moved them.

        Raises:
            SettingError: the loss is the sigmoid, and the base model has no bias for it.
        """
        if settings.cross_modal and settings.cross_modal_loss == "sigmoid":
            sigmoid_of(encoder)  # refused before anything is trained
        lexicon = task.lexicon
        specials = torch.tensor(lexicon.frame.specials)
        row_ids = torch.cat([task.trained, method.extra_rows(task, replayed=False), specials]).unique()
        self.encoder, self.task, self.method, self.settings = encoder, task, method, settings
        self.workers = Workers(encoder.device, settings.precision)
        self.table = CompactTable(lexicon.table, row_ids, encoder.device)
        self.scale = keep_idle(method.row_scale(task), row_ids, settings)
        rows = self.table.rows
        self._gradient_scale = self.scale.gradient[row_ids, None].to(rows)
        self._decay_scale = self.scale.decay[row_ids, None].to(rows)
        self.modules = modules or Acquirers()
        offered: dict[str, Tensor] = {"rows": rows}
        for language in task.languages:
            offered |= self.modules.trained(language, method.acquirers(encoder.text_tower.shape))
        self.parameters = choose_parameters(offered, settings)
        self.start = {name: one.detach().clone() for name, one in self.parameters.items()} | dict(start or {})
        temperature = torch.tensor(settings.temperature, device=encoder.device, dtype=rows.dtype)
        self.temperature = nn.Parameter(temperature, requires_grad=settings.learn_temperature)
        self.rates: list[float] = []
        self.skipped = 0
        self._own_steps: dict[str, int] = {}
        self._total_steps, self._warm_up = total_steps, int(settings.warm_up * total_steps)
        self._eos = int(self.table.localise(torch.tensor(lexicon.eos)))
        self._optimiser = make_optimiser([*self.parameters.values(), self.temperature], settings)
        self._scaler = self.workers.scaler()

    def encode(self, ids: Tensor, languages: Sequence[str] | None = None) -> tuple[Tensor, list[Insert]]:
        """Return (B, dim) student vectors of (B, L) token ids, with gradient, and what was put into the tower.

        Args:
            ids: padded token ids of the whole table.
            languages: of the texts; by default the task's.
        """
        local = self.table.localise(ids)
        tags = [self.task.language] * len(ids) if languages is None else list(languages)
        with self.workers.autocast():
            vectors, inserts = encode_batch(
                self.encoder, self.table.rows, local, self._eos, self.modules, tags, training=True
            )
        return vectors.to(self.table.rows.dtype), inserts

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss: L = cross_lingual L_cl + cross_modal L_cm + what methods add."""
        terms, self._step = self._forward(batch)
        return terms | self.method.loss_terms(self.task, self._step)

    def objective(self, batch: Batch) -> Tensor:
        """Return the loss of a batch without what methods add."""
        return torch.stack(list(self._forward(batch)[0].values())).sum()

    def _forward(self, batch: Batch) -> tuple[dict[str, Tensor], Step]:
        """Encode a batch and form the objective's terms."""
        with torch.no_grad():
            self.temperature.clamp_(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
        rows = self.table.rows
        teachers, images = batch.teachers.to(rows), batch.images.to(rows)
        image_ids, size = batch.image_ids.to(rows.device), len(batch.ids)
        part = self.workers.part(size)
        own, inserts = self.encode(batch.ids[part], None if batch.languages is None else batch.languages[part])
        texts = self.workers.gather(own, size)
        terms = {}
        settings = self.settings
        if settings.cross_lingual:
            loss = self._compare(settings.cross_lingual_loss, texts, teachers, image_ids)
            terms["cross_lingual"] = settings.cross_lingual * loss
        if settings.cross_modal:
            loss = self._compare(settings.cross_modal_loss, texts, images, image_ids)
            terms["cross_modal"] = settings.cross_modal * loss
        return terms, Step(
            row_ids=self.table.row_ids, parameters=self.parameters, start=self.start, texts=texts,
            teachers=teachers, images=images, image_ids=image_ids, cross_modal=settings.cross_modal,
            compare=lambda one, other, ids: self._compare(settings.cross_modal_loss, one, other, ids),
            places=batch.places, inserts=inserts,
            encode=self._encode_more, gradient=self.gradient, gather=lambda one: self.workers.gather(one, size),
        )  # fmt: skip

    def _compare(self, kind: str, texts: Tensor, targets: Tensor, image_ids: Tensor) -> Tensor:
        """The loss of a term: ``mse``, ``sigmoid`` or ``nce``."""
        if kind == "mse":
            return distillation(texts, targets)
        if kind == "sigmoid":
            scale, bias = sigmoid_of(self.encoder)
            return sigmoid(texts, targets, image_ids, scale, bias)
        return contrastive(texts, targets, image_ids, self.temperature)

    def gradient(self, loss: Tensor) -> dict[str, Tensor]:
        """Return the gradient of a scalar by parameter, zeros where it does not depend on one; nothing is stored.

        In float16 the loss is scaled on the way, as in a step; an entry that overflows is not finite. Processes have
        modules of different languages in their parts of a batch, so all of them average every parameter.
        """
        scale = self._scaler.get_scale()  # 1 unless float16
        found: Sequence[Tensor | None] = [None] * len(self.parameters)
        if loss.requires_grad:
            found = torch.autograd.grad(scale * loss, list(self.parameters.values()), allow_unused=True)
        return {
            name: self.workers.mean(torch.zeros_like(parameter) if one is None else one) / scale
            for (name, parameter), one in zip(self.parameters.items(), found, strict=True)
        }

    def _encode_more(self, sequences: Sequence[Sequence[int]], languages: Sequence[str]) -> Tensor:
        """Encode texts that are not of the batch; shared among the processes like the batch."""
        part = self.workers.part(len(sequences))
        own, _ = self.encode(pad(sequences[part], self.task.lexicon.eos), languages[part])
        return self.workers.gather(own, len(sequences))

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up from 0, then constant or a cosine to 0.

        The cosine goes by the share x of all steps, warm-up included, so that it begins below 1 (papers 1.5):
        (1 + cos(pi x)) / 2 is 0.976 at x = 0.1.
        """
        if step < self._warm_up:
            return self.settings.learning_rate * step / self._warm_up
        if self.settings.schedule == "cosine":
            return self.settings.learning_rate * (1 + math.cos(math.pi * step / self._total_steps)) / 2
        return self.settings.learning_rate

    def backward(self, losses: dict[str, Tensor]) -> float:
        """Form the gradient of the summed loss and clip its norm, special tokens included.

        Returns:
            The global norm before clipping.
        """
        parameters = [*self.parameters.values(), self.temperature]
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(torch.stack(list(losses.values())).sum()).backward()
        self._average(parameters)
        if self._scaler.is_enabled():
            self._scaler.unscale_(self._optimiser)
        for name, term in self.method.gradient_terms(self.task, self._step).items():
            gradient = self.parameters[name].grad
            self.parameters[name].grad = term if gradient is None else gradient + term
        if self.settings.clip == "global":
            return float(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm))
        norms = [nn.utils.clip_grad_norm_(one, self.settings.clip_norm) for one in parameters if one.grad is not None]
        return float(torch.stack(norms).square().sum().sqrt())

    def _average(self, parameters: Sequence[Tensor]) -> None:
        """Average the gradients over the processes; a parameter has one in all of them, or in none."""
        if self.workers.count == 1:
            return
        found = torch.tensor([float(one.grad is not None) for one in parameters], device=self.encoder.device)
        for parameter, share in zip(parameters, self.workers.mean(found).tolist(), strict=True):
            if share:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self.workers.mean(gradient)

    @torch.no_grad()
    def update(self) -> None:
        """Decay, scale, and let Adam move the rows.

        row <- row (1 - rate decay s); g <- s g; Adam's moments from the scaled g; update with bias correction. With
        ``scale_at="update"`` the gradient is not scaled and the change that Adam makes to a row is multiplied by s.
        """
        rows, rates = self.table.rows, self._set_rates()
        for name, parameter in self.parameters.items():
            if name == "rows":
                rows.mul_(1 - rates[name] * self.settings.weight_decay * self._decay_scale)
            elif parameter.dim() > 1 and parameter.grad is not None:  # of languages in the batch, and shared ones
                parameter.mul_(1 - rates[name] * self.settings.weight_decay)
        if self.settings.scale_at == "gradient":
            if rows.grad is not None:
                rows.grad.mul_(self._gradient_scale)
            self._optimiser.step()
        else:
            before = rows.clone()
            self._optimiser.step()
            rows.copy_(before + self._gradient_scale * (rows - before))
        self.rates.append(rates.get("rows", self.rate(len(self.rates) - self.skipped)))

    def _set_rates(self) -> dict[str, float]:
        """Give the optimiser the rates of this step; return them by parameter."""
        rates = dict.fromkeys(self.moved, self.rate(len(self.rates) - self.skipped))
        if self.settings.clock == "parameter":
            for name, parameter in self.moved.items():
                done = self._own_steps.get(name, 0)
                rates[name] = self.rate(done)
                self._own_steps[name] = done + (parameter.grad is not None)
        for name, group in zip(rates, self._optimiser.param_groups, strict=False):  # one group, or one a parameter
            group["lr"] = rates[name]
        return rates

    def step(self, batch: Batch) -> dict[str, float]:
        """Train on one batch; return its weighted loss terms and the gradient norm before clipping.

        Raises:
            ModelError: the loss or its gradient is not finite; the rows are as they were before. In float16, where the
                scaler mends a gradient that overflows, only after it could not.
        """
        losses = self.losses(batch)
        norm = self.backward(losses)
        terms = {name: float(term.detach()) for name, term in losses.items()}
        loss = sum(terms.values())
        overflow = self._scaler.is_enabled() and math.isfinite(loss)  # a smaller scale mends the gradient
        if not math.isfinite(norm) and not (overflow and self._scaler.get_scale() > 1):
            what = f"the loss became {loss}" if not math.isfinite(loss) else f"the gradient's norm became {norm}"
            raise ModelError(
                f"{what} in step {len(self.rates) + 1} of {self.task.language!r}",
                fix=f"Lower learning_rate (now {self.settings.learning_rate}).",
            )
        if math.isfinite(norm):
            self.update()
        else:
            self.rates.append(0.0)  # a step that moved nothing, and that the schedule does not count
            self.skipped += 1
        if self._scaler.is_enabled():
            self._scaler.update()
        return terms | {"gradient_norm": norm}

    def full_table(self, rows: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Return the whole (V, width) table as it stands now, or stood with ``rows`` after ``steps``."""
        return self.table.full(self.rates[:steps], self.settings.weight_decay, self.scale.decay, rows=rows)

    @property
    def moved(self) -> dict[str, Tensor]:
        """What the optimiser moves, by name: the parameters and the temperature."""
        return {**self.parameters, "temperature": self.temperature}

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, as copies on the CPU."""
        state = dict(self.moved)
        for name, parameter in list(state.items()):
            for key, value in self._optimiser.state[parameter].items():
                state[f"{name}.{key}"] = value
        for key, value in self._scaler.state_dict().items():
            state[f"scaler.{key}"] = torch.tensor(value)
        state["rates"] = torch.tensor(self.rates, dtype=torch.float64)
        state["skipped"] = torch.tensor(self.skipped)
        state["own_steps"] = torch.tensor([self._own_steps.get(name, 0) for name in self.moved])
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state_dict`` was taken; the next step is the same bit for bit.

        Raises:
            KeyError: something is missing.
        """
        for name, parameter in self.moved.items():
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
        self.rates, self.skipped = state["rates"].tolist(), int(state["skipped"])
        counts = state["own_steps"].tolist()
        self._own_steps = {name: count for name, count in zip(self.moved, counts, strict=True) if count}
