"""What a stream consists of, and how its results are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from torch import Tensor

from babelclip.config import TaskSettings, derive_seed
from babelclip.continual.measure import Gallery, Scores
from babelclip.data import Examples
from babelclip.errors import SettingError
from babelclip.evaluation import METRICS, RANKS, Cost, Run, chance_scores, summarise_run

JOINT = "mul"  # "multiple languages" in BCP-47
Measured = dict[str, Scores]
"""All metrics of one language by gallery."""


@dataclass(frozen=True)
class Stage:
    """One task of a stream.

    Attributes:
        train: a language's training texts.
        galleries: what the language is measured on; every stage has galleries of the same names in the same order.
        validation: texts to choose the best epoch with (the papers' rule); None keeps the last epoch.
    """

    train: Examples
    galleries: Sequence[Gallery]
    validation: Examples | None = None

    @property
    def language(self) -> str:
        """The language's tag."""
        return self.train.language


def examples_of(stage: Stage) -> list[Examples]:
    """All texts of a stage."""
    validation = [] if stage.validation is None else [stage.validation]
    return [stage.train, *validation, *(gallery.examples for gallery in stage.galleries)]


def check_stages(stages: Sequence[Stage]) -> list[str]:
    """Return the languages of a stream in order.

    Raises:
        SettingError: a language stands twice, or there is none; or galleries differ between stages.
    """
    order = [stage.language for stage in stages]
    if not order or len(set(order)) < len(order):
        raise SettingError(f"the stream is {order}", fix="Name at least one language, each once.")
    names = [[gallery.name for gallery in stage.galleries] for stage in stages]
    if not names[0] or any(each != names[0] or len(set(each)) < len(each) for each in names):
        raise SettingError(f"the galleries of the stages are {names}", fix="Give all stages the same, at least one.")
    return order


def interval_seed(stage: Stage) -> int:
    """Return the seed of a language's bootstrap intervals: the same whatever was learnt."""
    return derive_seed("bootstrap", stage.language)


@dataclass
class Scored:
    """The scores of a stream so far; goes into checkpoints."""

    initial: list[Measured]
    """Scores on every language of the stream before its first task."""
    before: list[Measured] = field(default_factory=list)
    """before[j]: scores on language j directly before task j."""
    scores: list[list[Measured]] = field(default_factory=list)
    """scores[i][j]: scores on language j after task i."""


@dataclass(frozen=True)
class Sizes:
    """How large what was learnt is.

    Attributes:
        new_tokens: of each language.
        module_bytes: of all modules.
        memory_bytes: of what the method remembers.
        bytes_per_token: of a row.
    """

    new_tokens: list[int]
    module_bytes: int
    memory_bytes: int
    bytes_per_token: int


def make_run(
    stages: Sequence[Stage], number: int, *, method: str, settings: TaskSettings, needs_language: bool,
    scored: Scored, intervals: Sequence[Mapping[str, tuple[float, float]]], sizes: Sizes, cost: Cost,
) -> Run:  # fmt: skip
    """Put the results on one gallery of each stage together.

    Args:
        stages: one a language.
        number: of the gallery.
        method: canonical name.
        settings: of every task.
        needs_language: whether a text's language had to be told.
        scored: all scores.
        intervals: bootstrap intervals of each language at the end.
        sizes: of what was learnt.
        cost: what it took.
    """
    galleries = [stage.galleries[number] for stage in stages]
    name = galleries[0].name
    matrices = {metric: [[one[name][metric] for one in row] for row in scored.scores] for metric in (*METRICS, *RANKS)}
    then = {metric: [one[name][metric] for one in scored.before] for metric in METRICS}
    first = {metric: [one[name][metric] for one in scored.initial] for metric in METRICS}
    chance = [chance_scores(each.examples.owner, len(each.examples.files), folds=each.folds) for each in galleries]
    return Run(
        method=method,
        seed=settings.seed,
        order=[stage.language for stage in stages],
        gallery=name,
        needs_language=needs_language,
        settings=settings.as_dict(),
        scores={metric: matrices[metric] for metric in METRICS},
        ranks={metric: matrices[metric] for metric in RANKS},
        before=then,
        initial=first,
        intervals={metric: [each[metric] for each in intervals] for metric in METRICS},
        chance={metric: sum(one[metric] for one in chance) / len(chance) for metric in METRICS},
        summary={metric: summarise_run(matrices[metric], then[metric], first[metric]) for metric in METRICS},
        **asdict(sizes),
        cost=cost,
    )


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
