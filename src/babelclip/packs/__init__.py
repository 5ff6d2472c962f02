"""One learnt language as a small file, and a base model that holds any number of them."""

from babelclip.packs.card import PackCard
from babelclip.packs.installed import install_pack, is_polyglot, list_installed, load_polyglot, remove_pack
from babelclip.packs.learn import METHOD, learn_pack, pack_recipe
from babelclip.packs.pack import Pack, make_pack
from babelclip.packs.polyglot import Polyglot
from babelclip.packs.store import load_card, load_pack, save_pack

__all__ = [
    "METHOD", "Pack", "PackCard", "Polyglot", "install_pack", "is_polyglot", "learn_pack", "list_installed",
    "load_card", "load_pack", "load_polyglot", "make_pack", "pack_recipe", "remove_pack", "save_pack",
]  # fmt: skip
