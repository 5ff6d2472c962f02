"""Learning without Forgetting (Li & Hoiem, ECCV 2016), for the vectors of texts that the old model can read."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import mse_loss

from babelclip.languages import NATIVE
from babelclip.lexicon import MultilingualLexicon, Tokens, tokenise
from babelclip.methods.base import NONE, Method, Step, Task, Trained


@dataclass
class LwF(Method):
    """The English sides of the new language's texts are to keep the vectors that they had before the task.

    Learning without forgetting holds the old model's answers to the new task's inputs, and keeps no old data. A task
    brings texts that the old model can read beside those that it cannot: with e the English text of a pair and f_old
    the model before the task, weight (1/(B d)) sum ||f(e) - f_old(e)||^2, from the second task on. Rows that English
    shares with the new language and with earlier ones are held by it; the rest of earlier languages is not. (Holding
    the new language's own texts to how the old model read them is ruinous where both have one output: dev/LOG.md.)

    Beside a multilingual lexicon English is the base model's own, so there is no term.

    Attributes:
        weight: of the term.
    """

    weight: float = 1.0

    name = "lwf"
    idea = "The English sides of the new language's texts are to keep the vectors that they had before."
    paper = "Li & Hoiem, ECCV 2016 (LwF)"
    equation = "weight mean ||f(e) - f_old(e)||^2"
    replays = True

    _before: Tensor | None = field(init=False, repr=False, default=None)
    _english: Tokens | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Refuse a negative weight."""
        self.check_number("weight", at_least=0)

    def before_task(self, task: Task) -> None:
        """Encode the English texts with the model as it was, and cut them as they are cut now."""
        self._before = self._english = None
        if task.number and task.examples is not None and not isinstance(task.lexicon, MultilingualLexicon):
            self._before = task.encode_before(task.examples.english, NATIVE)
            self._english = tokenise(task.lexicon.tokenizer(), task.examples.english)

    def extra_rows(self, task: Task) -> Tensor:
        """Return the ids of the tokens of the English texts."""
        return NONE if self._english is None else self._english.used()

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the distance of the batch's English texts to their old vectors."""
        if self._before is None or self._english is None or step.places is None:
            return {}
        english = task.lexicon.add_specials(self._english[place] for place in step.places.tolist())
        found = step.encode(english, [NATIVE] * len(english))
        return {"old": self.weight * mse_loss(found, self._before[step.places].to(found))}

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Forget the texts."""
        self._before = self._english = None
        return {}
