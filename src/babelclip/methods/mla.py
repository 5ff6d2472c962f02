"""MLA's bottleneck acquirers, as CLL-CLIP compares them (papers 2.9): token rows and a bottleneck after each block."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.acquirers import Acquirer, Bottleneck
from babelclip.encoders.insert import TowerShape
from babelclip.methods.base import Method


@dataclass
class MLA(Method):
    """One bottleneck a block and language, width -> width / 2 -> width, trained together with the token rows."""

    name = "mla"
    idea = "A small bottleneck behind each block of the text tower, one set a language."
    paper = "Zhang et al., NeurIPS 2022 (MLA); as compared in Yang et al., AAAI 2024"
    equation = "h + W_up relu(W_down h + b_down) + b_up"
    needs_language = True

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the bottlenecks."""
        return Bottleneck(shape)
