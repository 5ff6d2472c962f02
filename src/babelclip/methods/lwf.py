"""Learning without Forgetting (Li & Hoiem, ECCV 2016), for vectors instead of class scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import mse_loss

from babelclip.methods.base import Method, Step, Task


@dataclass
class LwF(Method):
    """The new language's own texts are to keep the vectors that the model gave them before it learnt the language.

    With y a text of the task and f_old the model before the lexicon grew: weight (1/(B d)) sum ||f(y) - f_old(y)||^2,
    from the second task on. No old text is kept; what is held fast is how the old model read strange words, so it can
    only slow the rows that these words share with earlier languages.

    Attributes:
        weight: of the term.
    """

    weight: float = 1.0

    name = "lwf"
    idea = "The new language's texts are also drawn to the vectors that the model gave them before."
    paper = "Li & Hoiem, ECCV 2016 (LwF)"
    equation = "weight mean ||f(y) - f_old(y)||^2"

    _before: Tensor | None = field(init=False, repr=False, default=None)

    def before_task(self, task: Task) -> None:
        """Encode the task's texts with the model as it was."""
        self._before = None if task.number == 0 or task.vectors_before is None else task.vectors_before()

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the distance to the old vectors of the batch."""
        if self._before is None or step.places is None:
            return {}
        return {"old": self.weight * mse_loss(step.texts, self._before[step.places].to(step.texts))}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the vectors are made again from the model of before."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take nothing."""
