"""One half of the objective alone (the ablation of papers 2.11)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.methods.base import Method


@dataclass
class CrossLingual(Method):
    """Texts follow the English teacher only: weights (1, 0)."""

    name = "cross-lingual"
    idea = "The objective without images: only the squared error to the English text vectors."
    paper = "Yang et al., AAAI 2024 (ablation)"
    equation = "L_cl"

    def wishes(self) -> dict[str, object]:
        """Ask for the weights of the two terms."""
        return {"cross_lingual": 1.0, "cross_modal": 0.0}


@dataclass
class CrossModal(Method):
    """Texts follow the images only: weights (0, 1)."""

    name = "cross-modal"
    idea = "The objective without a teacher: only the contrastive term between texts and images."
    paper = "Yang et al., AAAI 2024 (ablation)"
    equation = "L_cm"

    def wishes(self) -> dict[str, object]:
        """Ask for the weights of the two terms."""
        return {"cross_lingual": 0.0, "cross_modal": 1.0}
