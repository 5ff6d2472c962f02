"""Modules put into a frozen text tower, stored by language. A new kind is one file."""

from babelclip.acquirers.base import Acquirer, Acquirers
from babelclip.acquirers.bottleneck import Bottleneck
from babelclip.acquirers.learnt import Learnt

__all__ = ["Acquirer", "Acquirers", "Bottleneck", "Learnt"]
