"""All methods by name, and sums of them."""

from __future__ import annotations

from babelclip.errors import SettingError
from babelclip.methods.agem import AGEM
from babelclip.methods.base import Method
from babelclip.methods.cll import CLL
from babelclip.methods.coda import Coda
from babelclip.methods.coma import CoMA
from babelclip.methods.counts import Counts
from babelclip.methods.dualprompt import DualPrompt
from babelclip.methods.er import DER, ER
from babelclip.methods.full import Full
from babelclip.methods.gpm import GPM
from babelclip.methods.joint import Joint
from babelclip.methods.lora import LoRA
from babelclip.methods.lwf import LwF
from babelclip.methods.mla import MLA
from babelclip.methods.mla_stages import LE, NLT
from babelclip.methods.names import make_method, read_name, split_names
from babelclip.methods.objectives import CrossLingual, CrossModal
from babelclip.methods.oewc import OEWC
from babelclip.methods.oracle import Oracle
from babelclip.methods.packs import Packs, RoutedPacks
from babelclip.methods.ptuning import PTuning
from babelclip.methods.si import SI
from babelclip.methods.stack import Stack
from babelclip.methods.teir import TEIR
from babelclip.registry import Registry

_ALL = (
    CLL, Joint, Oracle, CrossLingual, CrossModal, Full, MLA, NLT, LE, LoRA, PTuning, DualPrompt, Coda,
    ER, DER, AGEM, OEWC, SI, LwF, GPM, CoMA, Counts, TEIR, Packs, RoutedPacks,
)  # fmt: skip
METHODS: Registry[type[Method]] = Registry("method", {method.name: method for method in _ALL})


def compose(names: str) -> Stack:
    """Make the methods named in ``names``, joined by ``+``, with options in parentheses: ``er(memory=500)+teir``.

    ``cll`` is what all others add to and is always there: ``teir`` means ``cll+teir``.

    Raises:
        UnknownNameError: a name is not in ``METHODS``, or a method has no such option.
        SettingError: a name stands twice, or an option cannot work.
    """
    wanted: dict[str, dict[str, str]] = {}
    for part in split_names(names, "+"):
        name, options = read_name(part)
        METHODS[name]
        if name in wanted:
            raise SettingError(f"the method {name!r} stands twice in {names!r}", fix="Name each method once.")
        wanted[name] = options
    chosen = {"cll": {}, **wanted}
    return Stack([make_method(METHODS[name], chosen[name]) for name in METHODS if name in chosen])
