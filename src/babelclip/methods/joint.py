"""Joint training: every language in one task. The reference that continual methods are held against."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.methods.base import Method


@dataclass
class Joint(Method):
    """All languages at once: batches mix them, nothing can be forgotten. The paper adds the oracle vocabulary.

    Results repeat the one model's scores after every task, so that F is 0 and AA is its mean over languages.
    """

    name = "joint"
    idea = "All languages in one task, batches of mixed languages; an upper reference, not a continual method."
    paper = "Yang et al., AAAI 2024 (joint training)"
    equation = "L_cl + 0.01 L_cm on mixed batches of D_1, ..., D_T"
    joint = True
