"""All kinds of modules by name."""

from __future__ import annotations

from babelclip.acquirers.base import Acquirer
from babelclip.acquirers.bottleneck import Bottleneck
from babelclip.acquirers.coda import CodaPrompts
from babelclip.acquirers.dual import DualPrompts
from babelclip.acquirers.lora import LowRank
from babelclip.acquirers.prefix import Prefixes
from babelclip.acquirers.projection import Projection
from babelclip.acquirers.whole import Whole
from babelclip.registry import Registry

KINDS: Registry[type[Acquirer]] = Registry(
    "kind of modules",
    {kind.name: kind for kind in (Projection, Whole, Bottleneck, LowRank, Prefixes, DualPrompts, CodaPrompts)},
)
