"""LoRA by language (Hu et al., ICLR 2022), as CLL-CLIP compares it (papers 2.9)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.acquirers import Acquirer, LowRank
from babelclip.encoders.insert import TowerShape
from babelclip.methods.base import Method


@dataclass
class LoRA(Method):
    """Two matrices of low rank a layer for queries and for values, one set a language, trained with the token rows.

    Attributes:
        rank: of the change.
        alpha: the change is multiplied by alpha / rank.
    """

    rank: int = 8
    alpha: float = 8.0

    name = "lora"
    idea = "Changes of low rank to the query and value projections of the text tower, one set a language."
    paper = "Hu et al., ICLR 2022 (LoRA); as compared in Yang et al., AAAI 2024"
    equation = "W x + (alpha / rank) B A x"
    needs_language = True

    def __post_init__(self) -> None:
        """Refuse a rank that cannot work, and a factor of 0, with which nothing would be learnt."""
        self.check_number("rank", at_least=1)
        self.check_number("alpha", above=0)

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the matrices."""
        return LowRank(shape, rank=self.rank, alpha=self.alpha)
