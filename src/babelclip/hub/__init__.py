"""Base models and packs from a hub, and what was learnt to one."""

from babelclip.hub.pull import Pulled, pull

__all__ = ["Pulled", "pull"]
