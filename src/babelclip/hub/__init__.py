"""Base models and packs from a hub, and what was learnt to one."""

from babelclip.hub.pull import Pulled, pull
from babelclip.hub.push import Shipment, prepare, upload, write_shipment

__all__ = ["Pulled", "Shipment", "prepare", "pull", "upload", "write_shipment"]
