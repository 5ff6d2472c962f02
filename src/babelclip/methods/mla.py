"""MLA's acquirers (papers 1.2, 2.9): a bottleneck after each block beside the token rows."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.acquirers import Acquirer, Bottleneck
from babelclip.encoders.insert import TowerShape
from babelclip.errors import SettingError, UnknownNameError
from babelclip.methods.base import Method

STARTS = ("normal", "uniform")
FROZEN = {"open": "", "rows": "projection/", "projection": "rows", "frozen": "rows projection/"}
"""What ``words`` freezes."""


@dataclass
class MLA(Method):
    """One bottleneck a block and language, width -> width / 2 -> width, trained together with the token rows.

    Alone it is the baseline of CLL-CLIP; with ``nlt`` and ``le``, on a multilingual lexicon, it is MLA (docs/mla.md).

    Attributes:
        inner: width of the bottleneck; 0 for half the tower's.
        start: ``normal``, N(0, 0.02^2) and biases of 0, as CLL-CLIP has it; ``uniform``, as MLA has it.
        shared: one set for all languages.
        words: what of the words is trained: ``open``, all; ``rows`` or ``projection``, that alone; ``frozen``, none:
            no other language can change.
    """

    inner: int = 0
    start: str = "normal"
    shared: bool = False
    words: str = "open"

    name = "mla"
    idea = "A small bottleneck behind each block of the text tower, one set a language."
    paper = "Zhang et al., NeurIPS 2022 (MLA); as compared in Yang et al., AAAI 2024"
    equation = "h + W_up relu(W_down h + b_down) + b_up"
    needs_language = True

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.inner < 0:
            raise SettingError(
                f"mla(inner={self.inner})", fix="It must be at least 1, or 0 for half the tower's width."
            )
        for option, value, known in (("start", self.start, STARTS), ("words", self.words, FROZEN)):
            if value not in known:
                raise UnknownNameError(f"{option} of mla", value, known)

    def wishes(self) -> dict[str, object]:
        """Ask that words stay as they are."""
        return {} if self.words == "open" else {"frozen": FROZEN[self.words]}

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the bottlenecks."""
        return Bottleneck(shape, inner=self.inner, uniform=STARTS.index(self.start), shared=int(self.shared))
