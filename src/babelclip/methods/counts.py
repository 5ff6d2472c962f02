"""Row steps by counts: each row is a running mean over its languages. Our own method, of TEIR's idea."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from babelclip.languages import NATIVE
from babelclip.lexicon import MultilingualLexicon, Tokens, tokenise
from babelclip.methods.base import Method, RowScale, Task, Trained


@dataclass
class Counts(Method):
    """Each step of row i is multiplied by n_i / (N_i + n_i): its uses in this task's texts and in all earlier ones'.

    That is the step of a running mean (MacQueen, 1967): a row ends about where its languages want it on average, each
    weighed by how much it uses the row. Adam moves a row by about the rate, however small or seldom its gradient is, so
    that without this a single use in another language's texts carries away a row that English uses thousands of times;
    and a factor on the gradient, as TEIR's, cancels in m / sqrt(v). So the factor acts on the step
    (``scale_at="update"``), and on the decay.

    The base model's English is an earlier language, too: where nothing has been counted yet, N is that of the English
    sides of the first task's texts, unless the task is English itself. (Not beside a multilingual lexicon, whose rows
    English does not use. In a pack, whose rows are its own, there is nothing to protect, and it only slows.)

    Start and end of text are used once a text. Rows that no earlier text uses move as ever; rows that only earlier ones
    use stand still, also where a memory holds texts with them. A language that is learnt again is no earlier language
    of itself. Modules in the tower are not scaled. What is stored is the uses of each language's own rows, and a step
    costs nothing more.
    """

    name = "counts"
    idea = "Rows move by the share of their uses that is the new language's: running means."
    paper = "babelclip; running means: MacQueen, 1967"
    equation = "s_i = n_i / (N_i + n_i)"

    _uses: dict[str, Tensor] = field(init=False, repr=False, default_factory=dict)

    def wishes(self) -> dict[str, object]:
        """Ask for a scale that acts on the step."""
        return {"scale_at": "update"}

    def before_task(self, task: Task) -> None:
        """Begin with what the base model reads."""
        if self._uses or task.examples is None or isinstance(task.lexicon, MultilingualLexicon):
            return
        if NATIVE not in (tag.split("-")[0] for tag in task.languages):
            english = tokenise(task.lexicon.tokenizer(), task.examples.english)
            self._uses[NATIVE] = _sparse(_count(task, english))

    def row_scale(self, task: Task) -> RowScale | None:
        """Return s for steps and decay; 1 where nothing uses a row."""
        now = torch.stack([_count(task, tokens) for _, tokens in task.by_language()]).sum(0)
        total = now.clone()
        for language, (rows, uses) in self._uses.items():
            if language not in task.languages:
                total[rows] += uses
        scale = torch.where(total > 0, now / total.clamp(min=1), 1.0)
        return RowScale(scale, scale)

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Count the task's texts; of a language that was counted before, the larger count of each row stays."""
        for language, tokens in task.by_language():
            now = _count(task, tokens)
            if language in self._uses:
                rows, uses = self._uses[language]
                now[rows] = now[rows].maximum(uses)
            self._uses[language] = _sparse(now)
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return by language (2, k): ids of the rows that it uses, and how often."""
        return dict(self._uses)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the uses."""
        self._uses = dict(state)


def _count(task: Task, tokens: Tokens) -> Tensor:
    """(V,) how often texts use each row; special tokens once a text."""
    uses = torch.bincount(tokens.ids.long(), minlength=len(task.lexicon.table))
    uses[task.lexicon.frame.specials] = len(tokens)
    return uses


def _sparse(uses: Tensor) -> Tensor:
    """(V,) to (2, k): rows with any uses, and how many."""
    rows = uses.nonzero()[:, 0]
    return torch.stack([rows, uses[rows]])
