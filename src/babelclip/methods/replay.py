"""What all methods with a memory share: when it is filled, cut and drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import mse_loss

from babelclip.config import derive_seed
from babelclip.methods.base import NONE, Method, Step, Task, Trained
from babelclip.methods.memory import Memory, Samples


@dataclass
class Replay(Method):
    """Keeps a reservoir of training texts; from the second task on it draws as many as a batch has.

    Every text is offered once, after its own task, so that each text of the stream has the same chance to stay. Texts
    are cut with the newest tokenizer, and the rows of their tokens are trained along.

    Attributes:
        memory: texts that are kept at most.
    """

    memory: int = 8000

    needs_memory = True
    replays = True

    _memory: Memory = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make an empty memory."""
        self.check_number("memory", at_least=2)
        self._memory = Memory(self.memory)
        self._rows = NONE

    def before_task(self, task: Task) -> None:
        """Cut the memory's texts, and begin new draws."""
        self._rows = self._memory.begin(task, derive_seed(task.seed, self.name, task.language))

    def extra_rows(self, task: Task) -> Tensor:
        """Return the ids of the tokens of the memory's texts."""
        return self._rows

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Offer the task's texts."""
        self._memory.offer(task, self.targets(task, trained))
        return {}

    def targets(self, task: Task, trained: Trained) -> Tensor:
        """Return (M, dim) what replayed vectors are drawn to: the English teacher's vectors."""
        if task.examples is None:
            raise ValueError("a task without examples cannot be remembered")
        return task.examples.teachers[:]

    def replay(self, step: Step) -> tuple[Samples, Tensor] | None:
        """Draw texts and encode them; None in the first task."""
        if not len(self._memory):
            return None
        samples = self._memory.draw(len(step.texts))
        return samples, step.encode(samples.sequences, samples.languages)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory."""
        return self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the memory."""
        if state:
            self._memory.load_state_dict(state)


def distance(samples: Samples, vectors: Tensor) -> Tensor:
    """Return the mean squared error of replayed vectors (M, dim) to their targets."""
    return mse_loss(vectors, samples.targets.to(vectors))
