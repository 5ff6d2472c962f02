"""Several methods at once: ``cll+teir``. The order of the names changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from babelclip.errors import SettingError
from babelclip.methods.base import Method, RowScale, Step, Task
from babelclip.methods.cll import CLL
from babelclip.methods.teir import TEIR
from babelclip.registry import Registry

METHODS: Registry[type[Method]] = Registry("method", {method.name: method for method in (CLL, TEIR)})


class Stack:
    """A sum of methods.

    Attributes:
        methods: in the order of the registry.
        name: canonical, such as ``cll+teir``.
        needs_language: true if any of them needs a text's language at test time.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        """Combine methods; ``compose`` does it by name."""
        self.methods = list(methods)
        self.name = "+".join(method.name for method in self.methods)
        self.needs_language = any(method.needs_language for method in self.methods)

    @property
    def initialiser(self) -> str | None:
        """How the methods want new rows to start, or None.

        Raises:
            SettingError: two of them want different things.
        """
        wishes = {method.initialiser: method.name for method in self.methods if method.initialiser is not None}
        if len(wishes) > 1:
            listed = ", ".join(f"{name} wants {wish!r}" for wish, name in wishes.items())
            raise SettingError(f"the methods disagree on new rows: {listed}", fix="Set `initialiser` yourself.")
        return next(iter(wishes), None)

    def before_task(self, task: Task) -> None:
        """Call each method's hook."""
        for method in self.methods:
            method.before_task(task)

    def row_scale(self, task: Task) -> RowScale:
        """Return the product of all row scales; ones where no method has a scale."""
        scale = RowScale.ones(len(task.lexicon.table))
        for method in self.methods:
            one = method.row_scale(task)
            if one is not None:
                scale = scale * one
        return scale

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return all terms, named ``method.term``."""
        return {
            f"{method.name}.{term}": value
            for method in self.methods
            for term, value in method.loss_terms(task, step).items()
        }

    def after_task(self, task: Task) -> None:
        """Call each method's hook."""
        for method in self.methods:
            method.after_task(task)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what all methods remember, named ``method.name``."""
        return {f"{method.name}.{key}": value for method in self.methods for key, value in method.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Give each method what it remembered."""
        for method in self.methods:
            start = f"{method.name}."
            method.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})


def compose(names: str) -> Stack:
    """Make the methods named in ``names``, joined by ``+``.

    ``cll`` is what all others add to and is always there: ``teir`` means ``cll+teir``.

    Raises:
        UnknownNameError: a name is not in ``METHODS``.
        SettingError: a name stands twice.
    """
    wanted = [name.strip() for name in names.split("+")]
    for name in wanted:
        if wanted.count(name) > 1:
            raise SettingError(f"the method {name!r} stands twice in {names!r}", fix="Name each method once.")
    chosen = {name: METHODS[name] for name in ("cll", *wanted)}
    return Stack([chosen[name]() for name in METHODS if name in chosen])
