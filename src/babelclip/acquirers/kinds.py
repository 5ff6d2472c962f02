"""All kinds of modules by name."""

from __future__ import annotations

from babelclip.acquirers.base import Acquirer
from babelclip.acquirers.bottleneck import Bottleneck
from babelclip.registry import Registry

KINDS: Registry[type[Acquirer]] = Registry("kind of modules", {kind.name: kind for kind in (Bottleneck,)})
