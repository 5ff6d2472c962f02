"""TEIR: Token Embedding Initialisation and Regularisation (Yang et al., AAAI 2024; papers 2.5 and 2.6)."""

from __future__ import annotations

import torch

from babelclip.methods.base import Method, RowScale, Task


class TEIR(Method):
    """New rows start distributed as the old ones; rows are protected by how often earlier languages used them.

    s_i = 1[i in T_t] / n_i, and 0 for the special tokens, scales the gradient and the decay of row i. Rows that the
    task does not use, and start and end of text, do not change at all.

    The scale enters before Adam's moments, as in the published code. A constant factor cancels in m / sqrt(v), so the
    gradient half acts through epsilon (1e-6, comparable to sqrt(v) for rare tokens) and through the zeros. The setting
    ``scale_at="update"`` makes the scale act as it reads: on the step.
    """

    name = "teir"
    idea = "New rows follow the old rows' distribution; gradient and decay of a row are divided by its earlier uses."
    paper = "Yang et al., AAAI 2024 (TEIR)"
    initialiser = "matched"

    def row_scale(self, task: Task) -> RowScale:
        """Return s for gradient and decay."""
        scale = torch.zeros(len(task.lexicon.uses))
        scale[task.used] = 1.0 / task.lexicon.uses[task.used].float()
        scale[[task.lexicon.bos, task.lexicon.eos]] = 0.0
        return RowScale(scale, scale)
