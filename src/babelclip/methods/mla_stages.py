"""MLA's two stages (papers 1.3 to 1.5): first the mother tongue, then the visual world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from babelclip.config import TaskSettings
from babelclip.methods.base import Method

_RECIPE: dict[str, object] = {
    "optimiser": "bert-adam", "beta1": 0.9, "beta2": 0.98, "epsilon": 1e-6, "weight_decay": 0.2, "clip": "tensor",
    "clip_norm": 1.0, "warm_up": 0.1, "schedule": "cosine", "batches": "language", "temperature": 0.01,
    "learn_temperature": False,
}  # fmt: skip
"""What both stages have in common."""


@dataclass
class _Stage(Method):
    """A stage whose loss has one term, ``cross_lingual`` or ``cross_modal``; its options are those of both."""

    rate: float = 0.0
    epochs: int = 1
    loss: str = ""
    variant: str = "defined"

    paper = "Zhang et al., NeurIPS 2022 (MLA)"
    term: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse options that cannot work."""
        self.check_variant(self.variant)
        replace(TaskSettings(), **self.stage())  # type: ignore[arg-type]

    def stage(self) -> dict[str, object]:
        """Return the stage's settings."""
        released = self.variant == "as-released"
        weights = {"cross_lingual": 0.0, "cross_modal": 0.0, self.term: 1.0}
        return {
            **_RECIPE, **weights, f"{self.term}_loss": self.loss, "learning_rate": self.rate, "epochs": self.epochs,
            "idle_decay": released, "clock": "parameter" if released else "task",
        }  # fmt: skip


@dataclass
class NLT(_Stage):
    """Native-language transfer: texts alone, drawn to the vectors of their English translations.

    Nothing depends on images. Batches are of one language each; where several are learnt at once, each step draws one
    uniformly. BERT's Adam: no bias correction, decay 0.2, each tensor's gradient clipped to a norm of 1, a tenth of the
    steps warm-up, then a cosine to 0.

    As released, two things differ. Each language's modules have a schedule of their own, of the steps that they are in:
    among five languages they stay in the warm-up for half of the training. And words that no text of the task uses
    decay too: over the published schedule a row that never occurs shrinks to 0.35 of its length.

    Attributes:
        rate: peak learning rate.
        epochs: passes over the texts.
        loss: ``mse``, as published, or ``nce`` against the English vectors of the batch.
        variant: ``defined``, or ``as-released``.
    """

    rate: float = 1e-4
    epochs: int = 10
    loss: str = "mse"

    name, term = "nlt", "cross_lingual"
    idea = "A first stage of text alone: meet the English vectors (MLA's native-language transfer)."
    equation = "1/(B d) sum |f(y) - z(x)|^2"


@dataclass
class LE(_Stage):
    """Language exposure: texts find their images, at a fixed temperature of 0.01.

    Batches, optimiser, schedule and variants are those of ``nlt``. Several texts of one image in a batch are all its
    positives; since they share one image vector, the loss is the same as with each as the others' negative.

    Attributes:
        rate: peak learning rate.
        epochs: passes over the texts.
        loss: ``nce``, as published, or ``mse`` to the images' vectors.
        variant: ``defined``, or ``as-released``.
    """

    rate: float = 3e-6
    epochs: int = 1
    loss: str = "nce"

    name, term = "le", "cross_modal"
    idea = "A second stage of images and texts: find each other in the batch (MLA's language exposure)."
    equation = "InfoNCE(f(y), w(v)), tau = 0.01"
