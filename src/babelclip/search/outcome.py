"""What a run of the indexer did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from babelclip.search.items import Skipped
from babelclip.search.store import Approximate


@dataclass
class Report:
    """What a run did, in files.

    Attributes:
        new, changed, moved, removed, unchanged: numbers of files; moved ones were not opened.
        kept: those of the unchanged, moved and copied ones that keep their vectors although others were given.
        skipped: all that is skipped now, found in this run or before.
        others: files of other kinds in the folders.
        incomplete: videos of which not all could be read.
        pictures: pictures and frames that went through the image tower.
        seconds: what it took.
        index: the approximate index, where there is one.
        rebuilt: whether it was built in this run.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    kept: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    others: int = 0
    incomplete: list[str] = field(default_factory=list)
    pictures: int = 0
    seconds: float = 0.0
    index: Approximate | None = None
    rebuilt: bool = False

    @property
    def reasons(self) -> Counter[str]:
        """How often each reason for skipping stands there."""
        return Counter(one.reason for one in self.skipped)
