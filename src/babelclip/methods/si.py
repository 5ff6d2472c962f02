"""Synaptic intelligence (Zenke et al., ICML 2017): importance from the path that training took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from babelclip.methods.base import Method, Step, Task, Trained
from babelclip.methods.importance import Importance, quadratic

FORMER, GRADIENT, PATH = "former/", "gradient/", "path/"


@dataclass
class SI(Method):
    """Entries whose change has lowered the loss of earlier tasks are held to where they stood when the task began.

    While a task trains, omega_i = -sum_k g_{k,i} (theta_{k+1,i} - theta_{k,i}), with g the gradient of the loss without
    this penalty, before clipping. Afterwards Omega_i <- max(0, Omega_i + omega_i / ((theta_end,i - theta_start,i)^2 +
    xi)), as in the authors' code, and the penalty of later tasks is strength sum_i Omega_i (theta_i - theta*_i)^2. The
    path ends with the last epoch, whichever is kept; theta* are the weights that were kept. Token rows and modules that
    all languages share are held. The defaults are the authors' for split CIFAR (for permuted MNIST, xi = 0.1).

    Attributes:
        strength: of the penalty.
        xi: keeps the division from growing without bound.
    """

    strength: float = 0.1
    xi: float = 1e-3

    name = "si"
    idea = "A quadratic penalty holds entries whose change has lowered the loss of earlier languages."
    paper = "Zenke et al., ICML 2017 (SI)"
    equation = "strength sum_i Omega_i (theta_i - theta*_i)^2"

    _importance: Importance = field(init=False, repr=False, default_factory=Importance)
    _path: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work: without xi, an entry that ends where it began is divided by 0."""
        self.check_number("strength", at_least=0)
        self.check_number("xi", above=0)

    def before_task(self, task: Task) -> None:
        """Begin a new path."""
        self._path = {}

    def extra_rows(self, task: Task) -> Tensor:
        """Return the rows that matter to earlier tasks."""
        return self._importance.row_ids

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the penalty."""
        weights = self._importance.aligned(step.parameters, step.row_ids)
        return {"penalty": self.strength * quadratic(weights, step.parameters, step.start)} if weights else {}

    def gradient_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Take note of where the parameters stand and of their gradient; nothing is added."""
        weights = self._importance.aligned(step.parameters, step.row_ids)
        for name, parameter in task.shared(step.parameters).items():
            now = parameter.detach()
            self._walk(name, now)
            gradient = torch.zeros_like(now) if parameter.grad is None else parameter.grad.clone()
            if name in weights:
                gradient -= 2 * self.strength * weights[name] * (now - step.start[name])
            # A step that overflows in float16 is left out: it moves nothing, so its gradient must count nothing.
            gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
            self._path[FORMER + name], self._path[GRADIENT + name] = now.clone(), gradient
        return {}

    def after_stage(self, task: Task, trained: Trained) -> None:
        """Walk the last step; what was kept of the stage, which is where the next begins, is no step."""
        with trained.last_weights():
            for name, end in task.shared(trained.parameters).items():
                self._walk(name, end.detach())
        self._path = {name: one for name, one in self._path.items() if name.startswith(PATH)}

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Walk the last step, and add what the path was worth."""
        gains = {}
        with trained.last_weights():
            for name, end in task.shared(trained.parameters).items():
                self._walk(name, end.detach())
                length = (end.detach() - trained.start[name]).square() + self.xi
                gains[name] = self._path[PATH + name] / length
        self._importance.add(gains, trained.row_ids)
        self._path = {}
        return {}

    def _walk(self, name: str, now: Tensor) -> None:
        """Add the step that ended at ``now`` to the path."""
        path = self._path.get(PATH + name, torch.zeros_like(now)).to(now)  # on the CPU after a restart
        self._path[PATH + name] = path
        if FORMER + name in self._path:
            path -= self._path[GRADIENT + name].to(now) * (now - self._path[FORMER + name].to(now))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the importance, and the path of a running task."""
        return {**self._importance.state_dict(), **{f"path.{name}": value for name, value in self._path.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state_dict`` returned."""
        self._path = {
            name.removeprefix("path."): one.clone() for name, one in state.items() if name.startswith("path.")
        }
        self._importance.load_state_dict({name: one for name, one in state.items() if not name.startswith("path.")})
