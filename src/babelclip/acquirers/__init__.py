"""Modules put into a frozen text tower, stored by language. A new kind is one file."""

from babelclip.acquirers.base import Acquirer, Acquirers
from babelclip.acquirers.bottleneck import Bottleneck
from babelclip.acquirers.coda import CodaPrompts
from babelclip.acquirers.dual import DualPrompts
from babelclip.acquirers.learnt import Learnt
from babelclip.acquirers.lora import LowRank
from babelclip.acquirers.prefix import Prefixes
from babelclip.acquirers.projection import Projection
from babelclip.acquirers.whole import Whole

__all__ = [
    "Acquirer",
    "Acquirers",
    "Bottleneck",
    "CodaPrompts",
    "DualPrompts",
    "Learnt",
    "LowRank",
    "Prefixes",
    "Projection",
    "Whole",
]
