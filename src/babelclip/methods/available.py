"""Which methods can teach a model, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from babelclip.acquirers import Acquirer
from babelclip.acquirers.by_language import ByLanguage
from babelclip.encoders.insert import TowerShape
from babelclip.errors import BabelclipError
from babelclip.methods.base import Method
from babelclip.methods.registry import METHODS, compose


@dataclass(frozen=True)
class Availability:
    """Whether a method can teach a model.

    Attributes:
        method: its name.
        idea: what it does, one sentence.
        reason: why it is not available; empty where it is.
        told: whether the language of a text must be said at test time.
        memory: whether it keeps texts of earlier tasks.
        pack: whether its modules, if it has any, are a language's own, as those of a pack must be; else it needs one
            lexicon for all languages (``learn --shared``).
    """

    method: str
    idea: str
    reason: str
    told: bool
    memory: bool
    pack: bool

    @property
    def available(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reason


def list_methods(shape: TowerShape | None, reasons: Sequence[str] = ()) -> list[Availability]:
    """Try every method of the registry on a text tower of a certain shape; nothing is made.

    Args:
        shape: of the text tower; None where it is not known.
        reasons: why the model can be taught by no method.
    """
    return [_try(METHODS[name], shape, reasons) for name in METHODS]


def _try(method: type[Method], shape: TowerShape | None, reasons: Sequence[str]) -> Availability:
    reason, acquirer = reasons[0] if reasons else "", None
    if not reason and shape is None:
        reason = "the sizes of the text tower are not known"
    elif not reason and shape is not None:
        reason, acquirer = _fit(method.name, shape)
    return Availability(
        method=method.name, idea=method.idea, reason=reason, told=method.needs_language, memory=method.needs_memory,
        pack=acquirer is None or _own(acquirer),
    )  # fmt: skip


def _fit(name: str, shape: TowerShape) -> tuple[str, Acquirer | None]:
    """Make a method's modules for a tower; return why they do not fit, and what they are."""
    if shape.width % max(1, shape.heads):
        return f"a width of {shape.width} cannot be divided by {shape.heads} heads", None
    try:
        made = next(one for one in compose(name).methods if one.name == name)
        made.check_tower(shape)
        acquirer = made.acquirer(shape)
    except BabelclipError as error:
        return error.what, None
    return "", acquirer


def _own(acquirer: Acquirer) -> bool:
    """Whether its modules belong to one language each, as those of a pack do."""
    return isinstance(acquirer, ByLanguage) and acquirer.owner("x") == "x"
