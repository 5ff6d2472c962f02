"""The oracle vocabulary: one BPE learnt from all languages of the stream before its first task (papers 2.11, row 7)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.config import TaskSettings
from babelclip.methods.base import Method


@dataclass
class Oracle(Method):
    """No token is ever appended later, so old words are never cut anew; training texts of the future are seen, though.

    Attributes:
        share: tokens asked for, in parts of what all languages together would ask for; 5/9 of 36 languages of 10,000
            are the paper's 200,000.
    """

    share: float = 5 / 9

    name = "oracle"
    idea = (
        "One vocabulary learnt from the training texts of all languages before the first task; not a continual method."
    )
    paper = "Yang et al., AAAI 2024 (oracle vocabulary)"
    equation = "V = V_base + BPE(D_1, ..., D_T; share T vocab_size tokens)"

    def __post_init__(self) -> None:
        """Refuse a share that cannot work."""
        self.check_number("share", above=0, at_most=10)

    def vocabulary_size(self, settings: TaskSettings, languages: int) -> int:
        """Return share x vocab_size x languages, at least one language's."""
        return max(settings.vocab_size, round(self.share * settings.vocab_size * languages))
