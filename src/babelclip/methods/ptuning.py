"""Prefix tuning by language (Li and Liang, ACL 2021), which CLL-CLIP compares as P-Tuning (papers 2.9)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.acquirers import Acquirer, Prefixes
from babelclip.encoders.insert import TowerShape
from babelclip.methods.base import Method


@dataclass
class PTuning(Method):
    """Keys and values before those of a text in every layer, made by a small network, one a language.

    Attributes:
        length: keys and values a layer.
        inner: width of the network.
    """

    length: int = 30
    inner: int = 512

    name = "ptuning"
    idea = "Learnt keys and values before those of the text in every layer, one set a language."
    paper = "Li and Liang, ACL 2021 (prefix tuning); as compared in Yang et al., AAAI 2024"
    equation = "[keys, values] = W_2 tanh(W_1 E + b_1) + b_2"
    needs_language = True

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        for name in ("length", "inner"):
            self.check_number(name, at_least=1)

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the prefixes."""
        return Prefixes(shape, length=self.length, inner=self.inner)
