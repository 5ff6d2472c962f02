"""Several methods at once, as one: the order of the list changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from babelclip.acquirers import Acquirer
from babelclip.config import TaskSettings
from babelclip.encoders.insert import TowerShape
from babelclip.errors import SettingError
from babelclip.methods.base import NONE, Method, RowScale, Step, Task, Trained
from babelclip.methods.names import write_name

LANGUAGES_OF = "languages of "


class Stack:
    """A sum of methods.

    Attributes:
        methods: in the order of the registry.
        name: canonical, such as ``cll+teir``.
        needs_language: true if any of them needs a text's language at test time; modules of an isolated language follow
            what is known of the language that it is read as.
        joint: true if any of them learns all languages in one task.
        isolated: true if one of them learns each language of a stream alone.
    """

    def __init__(self, methods: Sequence[Method]) -> None:
        """Combine methods; ``compose`` does it by name."""
        self.methods = list(methods)
        self.name = "+".join(write_name(method) for method in self.methods)
        self.joint = any(method.joint for method in self.methods)
        alone = [method for method in self.methods if method.isolated]
        self.isolated = bool(alone)
        self.needs_language = any(method.needs_language for method in alone or self.methods)
        self._refuse_beside(alone)

    def _refuse_beside(self, alone: Sequence[Method]) -> None:
        """Refuse what says nothing to languages that are learnt alone, and would stand in the name for nothing."""
        of_streams = [method for method in self.methods if method.joint or method.whole_stream]
        for one, other in product(alone, (*of_streams, *alone)):
            if one is not other:
                raise SettingError(
                    f"{other.name!r} means nothing beside {one.name!r}, which learns each language alone",
                    fix="Leave one of them out.",
                )

    def settle(self, settings: TaskSettings) -> TaskSettings:
        """Return settings with what the methods wish for; an ``initialiser`` that was set stays.

        Raises:
            SettingError: two methods want different things.
        """
        wanted: dict[str, tuple[object, str]] = {}
        for method in self.methods:
            for name, value in method.wishes().items():
                other, by = wanted.setdefault(name, (value, method.name))
                if other != value:
                    raise SettingError(
                        f"the methods disagree on {name}: {by} wants {other!r}, {method.name} wants {value!r}",
                        fix=f"Set `{name}` yourself." if name == "initialiser" else "Leave one of them out.",
                    )
        changes = {name: value for name, (value, _) in wanted.items()}
        if settings.initialiser is not None:
            changes.pop("initialiser", None)
        return replace(settings, **changes)  # type: ignore[arg-type]

    def stages(self, settings: TaskSettings) -> dict[str, TaskSettings]:
        """Return the stages of a task, one after the other; one without a name where no method asks for any.

        Raises:
            SettingError: two methods want different things.
        """
        settled = self.settle(settings)
        found = {method.name: method.stage() for method in self.methods}
        for method in self.methods:
            for name, wish in method.wishes().items():
                for stage, changes in found.items():
                    if changes is not None and changes.get(name, wish) != wish:
                        raise SettingError(
                            f"the methods disagree on {name}: {method.name} wants {wish!r}, the stage {stage} "
                            f"{changes[name]!r}",
                            fix="Leave one of them out.",
                        )
        stages = {
            name: replace(settled, **changes)  # type: ignore[arg-type]
            for name, changes in found.items()
            if changes is not None
        }
        return stages or {"": settled}

    def refuse(self, changes: Iterable[str]) -> None:
        """Refuse changes of settings that a stage or a method sets itself; an ``initialiser`` that is set stays.

        Raises:
            SettingError: naming the setting and the method.
        """
        for name in changes:
            for method in self.methods:
                if name != "initialiser" and name in method.wishes():
                    raise SettingError(
                        f"the setting {name!r} has no effect: {method.name!r} sets it to {method.wishes()[name]!r}",
                        fix=f"Leave the setting out, or {method.name!r}.",
                    )
                if name in (method.stage() or {}):
                    raise SettingError(
                        f"the setting {name!r} has no effect: each stage has its own",
                        fix=f"Use the options of {method.name!r}, such as {method.name}(epochs=3) (docs/methods.md).",
                    )

    def check_tower(self, shape: TowerShape) -> None:
        """Refuse a text tower that has no place for one of the methods.

        Raises:
            SettingError: naming the method, what it needs and what the tower has.
        """
        for method in self.methods:
            method.check_tower(shape)

    def acquirers(self, shape: TowerShape) -> dict[str, Acquirer]:
        """Return the kinds of modules that the methods put into the tower, by name."""
        made = [method.acquirer(shape) for method in self.methods]
        return {kind.name: kind for kind in made if kind is not None}

    def vocabulary_size(self, settings: TaskSettings, languages: int) -> int | None:
        """Return how many tokens are to be learnt before the first task, the most that any method asks for."""
        found = [method.vocabulary_size(settings, languages) for method in self.methods]
        return max((size for size in found if size is not None), default=None)

    def before_task(self, task: Task) -> None:
        """Call each method's hook."""
        for method in self.methods:
            method.before_task(task)

    def extra_rows(self, task: Task, *, replayed: bool) -> Tensor:
        """Return sorted ids that methods train beside the task's own; of replayed texts, or of all else."""
        found = [method.extra_rows(task) for method in self.methods if method.replays == replayed]
        together: Tensor = torch.cat([NONE, *found]).unique()
        return together

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

    def gradient_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the sum of what the methods add to the gradients, by parameter."""
        return _sum(method.gradient_terms(task, step) for method in self.methods)

    def after_stage(self, task: Task, trained: Trained) -> None:
        """Call each method's hook."""
        for method in self.methods:
            method.after_stage(task, trained)

    def after_task(self, task: Task, trained: Trained, *, moves: bool) -> dict[str, Tensor]:
        """Return the sum of what those methods that move parameters, or those that do not, add to them, by name."""
        return _sum([method.after_task(task, trained) for method in self.methods if method.moves == moves])

    def more_uses(self, task: Task) -> list[Tensor]:
        """Return all uses that the methods count beside those of the task's own texts."""
        return [used for method in self.methods for used in method.more_uses(task)]

    def remember(self, before: Mapping[str, Tensor], languages: Sequence[str]) -> dict[str, Tensor]:
        """Return what is to be kept after a task: what these methods remember, of which languages, and the rest.

        Args:
            before: what was kept before the task.
            languages: of the task.
        """
        tags = {
            LANGUAGES_OF + method.name: _packed(dict.fromkeys([*_languages(before, method), *languages]))
            for method in self.methods
            if method.remembers
        }
        return {**before, **self.state_dict(), **tags}

    def ignorant(self, remembered: Mapping[str, Tensor], languages: Sequence[str]) -> dict[str, list[str]]:
        """Return by the names of the methods that keep something of each language those that they know nothing of."""
        unknown = {
            method.name: [tag for tag in languages if tag not in _languages(remembered, method)]
            for method in self.methods
            if method.remembers
        }
        return {name: tags for name, tags in unknown.items() if tags}

    def refuse_alone(self, languages: Sequence[str]) -> None:
        """Refuse methods of whole streams where there is nothing but one task.

        Args:
            languages: of the task.

        Raises:
            SettingError: naming the method.
        """
        for method in self.methods:
            if method.whole_stream:
                raise SettingError(
                    f"{method.name!r} learns from all languages of a stream before the first, and this is one of them",
                    fix="Leave it out, or learn all languages in one call of run_stream or `babelclip bench run`.",
                )
            if method.joint and len(languages) == 1:
                raise SettingError(
                    f"{method.name!r} learns several languages at once, and {languages[0]!r} is one",
                    fix="Leave it out, or give several languages.",
                )

    def state_dict(self) -> dict[str, Tensor]:
        """Return what all methods remember, named ``method.name``."""
        return {f"{method.name}.{key}": value for method in self.methods for key, value in method.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Give each method what it remembered."""
        for method in self.methods:
            start = f"{method.name}."
            method.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})


def _languages(remembered: Mapping[str, Tensor], method: Method) -> list[str]:
    """Those that a method was there for."""
    packed = remembered.get(LANGUAGES_OF + method.name)
    return [] if packed is None else bytes(packed.tolist()).decode().split(",")


def _packed(tags: Iterable[str]) -> Tensor:
    return torch.tensor(list(",".join(tags).encode()), dtype=torch.uint8)


def _sum(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Add tensors by name."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total
