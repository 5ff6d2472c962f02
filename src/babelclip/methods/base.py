"""The hooks of a method. They only add: no method steps the optimiser, and none undoes another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from babelclip.acquirers import Acquirer
from babelclip.config import TaskSettings
from babelclip.data import Batch, Examples
from babelclip.encoders.insert import Insert, TowerShape
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Lexicon, Tokens

NONE = torch.empty(0, dtype=torch.int64)
VARIANTS = ("defined", "as-released")
"""As the method is defined, or as the released code of the comparison has it where that changes numbers."""


def _encode_nothing(texts: Sequence[str], language: str) -> Tensor:
    raise ValueError(f"a task made without a model of before cannot encode {len(texts)} texts in {language!r}")


@dataclass(frozen=True)
class Task:
    """One language's turn, as methods see it.

    Attributes:
        language: its tag.
        number: 0 for the first task of the stream.
        lexicon: the lexicon, already grown for the language.
        used: (k,) sorted ids that occur in the training texts, T_t: without special tokens, before truncation.
        replayed: (r,) sorted ids that occur in what is trained on beside the task's own texts: those of a memory, and
            their English sides (``lwf``).
        seed: of the run; a method derives its own from it.
        examples: the training texts with the teacher's vectors.
        tokens: the texts' tokens.
        encode_before: returns (M, dim) vectors of texts of a language from the model as it was before the lexicon grew,
            with the modules that ``Step.encode`` would use.
    """

    language: str
    number: int
    lexicon: Lexicon
    used: Tensor
    replayed: Tensor = field(default_factory=lambda: NONE)
    seed: int = 0
    examples: Examples | None = None
    tokens: Tokens | None = None
    encode_before: Callable[[Sequence[str], str], Tensor] = _encode_nothing

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages of the task: several where all are learnt at once."""
        return (self.language,) if self.examples is None else self.examples.languages

    def by_language(self) -> Iterator[tuple[str, Tokens]]:
        """Yield each language and the tokens of its texts."""
        if self.tokens is None:
            raise ValueError("a task made without tokens has nothing to count")
        if self.examples is None:
            yield self.language, self.tokens
        else:
            for language, texts in self.examples.by_language():
                yield language, self.tokens.part(texts)

    def is_new(self, parameter: str, row_ids: Tensor) -> Tensor:
        """Return whether a parameter belongs to this task alone: (R, 1) of ``rows``, () of a module.

        Rows are new that no earlier language used and that the base model does not have, n_i = 1, also where they were
        there before: of one vocabulary for all languages.
        """
        if parameter == "rows":
            return (self.lexicon.uses[row_ids] < 2)[:, None]
        return torch.tensor(parameter.split("/")[1] in self.languages)

    def shared(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters that later languages can change: the rows, and modules of no language's own."""
        return {
            name: one for name, one in parameters.items() if name == "rows" or name.split("/")[1] not in self.languages
        }

    @property
    def trained(self) -> Tensor:
        """(k,) sorted ids of all texts that are trained on: the task's own and replayed ones."""
        return torch.cat([self.used, self.replayed]).unique() if len(self.replayed) else self.used


@dataclass(frozen=True)
class Step:
    """One training step, as methods see it.

    Attributes:
        row_ids: (R,) ids of the rows that this task trains.
        parameters: what is trained, by name, with gradient: ``rows`` (R, width), and modules as ``kind/owner/name``.
        start: the same before the first step of the task, without gradient.
        texts: (B, dim) student vectors of the batch, with gradient.
        teachers: (B, dim) English teacher vectors.
        images: (B, dim) image vectors.
        image_ids: (B,) equal where two texts share an image.
        cross_modal: weight of that term.
        compare: the loss of that term: of texts (B, dim) against images (B, dim), alike where image_ids (B,) are.
        places: (B,) where the texts stand in the task's examples; None where they come from elsewhere.
        inserts: what each kind of module put into the tower for this process's part of the batch.
        encode: gives (M, dim) vectors, with gradient, of token ids with specials and the languages of the texts.
        gradient: gives the gradient of a scalar by parameter; nothing is stored.
        gather: puts (b, k) figures of this process's part of the batch, as inserts have them, together to (B, k).
    """

    row_ids: Tensor
    parameters: Mapping[str, Tensor]
    start: Mapping[str, Tensor]
    texts: Tensor
    teachers: Tensor
    images: Tensor
    image_ids: Tensor
    cross_modal: float
    compare: Callable[[Tensor, Tensor, Tensor], Tensor]
    places: Tensor | None
    inserts: Sequence[Insert]
    encode: Callable[[Sequence[Sequence[int]], Sequence[str]], Tensor]
    gradient: Callable[[Tensor], dict[str, Tensor]]
    gather: Callable[[Tensor], Tensor]

    @property
    def rows(self) -> Tensor:
        """(R, width) the rows in training, with gradient."""
        return self.parameters["rows"]


class Trained(Protocol):
    """A finished task, as methods see it; its parameters hold the weights that were kept (the best epoch's)."""

    @property
    def row_ids(self) -> Tensor:
        """(R,) ids of the rows that were trained."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """What was trained, by name."""

    @property
    def start(self) -> Mapping[str, Tensor]:
        """The same before the first step."""

    def batches(self) -> Iterator[Batch]:
        """Yield the task's texts in their order, each once; the last incomplete batch is left out, as in training."""

    def gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Return the gradient of the objective alone, L_cl and L_cm, by parameter."""

    def vectors(self) -> Tensor:
        """Return (M, dim) vectors of the task's texts."""

    def last_weights(self) -> AbstractContextManager[None]:
        """Put the last epoch's weights into the parameters inside the context, whichever were kept."""


@dataclass(frozen=True)
class RowScale:
    """How strongly each row of the table is trained.

    Attributes:
        gradient: (V,) multiplies the gradient of a row after clipping and before Adam's moments, or its update with
            ``scale_at="update"``.
        decay: (V,) multiplies the weight decay of a row.
    """

    gradient: Tensor
    decay: Tensor

    @classmethod
    def ones(cls, num_rows: int) -> RowScale:
        """Plain AdamW: every row alike; one figure stands for all rows, so it can be multiplied but not written to."""
        one = torch.ones(1).expand(num_rows)
        return cls(one, one)

    def __mul__(self, other: RowScale) -> RowScale:
        """Two scales at once."""
        return RowScale(self.gradient * other.gradient, self.decay * other.decay)


@dataclass
class Method:
    """Base of all methods: does nothing. Override the hooks that the idea needs.

    A subclass is a dataclass; its fields are the options that users write behind its name: ``er(memory=500)``.

    Attributes:
        name: what users type.
        idea: one sentence.
        paper: where it was published.
        needs_language: whether a text's language must be known at test time.
        needs_memory: whether it keeps texts of earlier tasks.
        replays: whether ``extra_rows`` are those of texts that are trained on beside the task's own.
        joint: whether all languages of a stream are learnt in one task.
        isolated: whether each language of a stream is learnt alone, from the base model.
        moves: whether ``after_task`` moves parameters; those methods go first, so that others look at what is kept.
    """

    name: ClassVar[str]
    idea: ClassVar[str]
    paper: ClassVar[str]
    equation: ClassVar[str] = "-"
    needs_language: ClassVar[bool] = False
    needs_memory: ClassVar[bool] = False
    replays: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    isolated: ClassVar[bool] = False
    moves: ClassVar[bool] = False

    @property
    def whole_stream(self) -> bool:
        """Whether it learns from all languages of a stream before the first."""
        return type(self).vocabulary_size is not Method.vocabulary_size

    @property
    def remembers(self) -> bool:
        """Whether it keeps something of each language that the learning of later ones depends on."""
        return type(self).state_dict is not Method.state_dict

    def check_variant(self, variant: str) -> None:
        """Refuse what is not one of ``VARIANTS``.

        Raises:
            UnknownNameError: naming the closest.
        """
        if variant not in VARIANTS:
            raise UnknownNameError(f"variant of {self.name}", variant, VARIANTS)

    def check_number(
        self, option: str, *, at_least: float = -math.inf, above: float = -math.inf, at_most: float = math.inf
    ) -> None:
        """Refuse the value of an option that is out of its range or not finite.

        Raises:
            SettingError: naming the method, the option, its value and the range.
        """
        value = getattr(self, option)
        if not (at_least <= value <= at_most and above < value and math.isfinite(value)):
            low = f"at least {at_least:g}" if above == -math.inf else f"above {above:g}"
            high = "" if at_most == math.inf else f" and at most {at_most:g}"
            finite = "" if math.isfinite(value) else "a finite number, "
            raise SettingError(f"{self.name}({option}={value})", fix=f"It must be {finite}{low}{high}.")

    def wishes(self) -> dict[str, object]:
        """Return settings of a task that belong to the idea, such as ``initialiser``."""
        return {}

    def stage(self) -> dict[str, object] | None:
        """Return the settings of a stage that the task has because of this method, or None for no stage."""

    def check_tower(self, shape: TowerShape) -> None:
        """Refuse a text tower that has no place for the idea.

        Raises:
            SettingError: naming what it needs and what the tower has.
        """

    def acquirer(self, shape: TowerShape) -> Acquirer | None:
        """Return the kind of modules that it puts into the tower, or None."""

    def vocabulary_size(self, settings: TaskSettings, languages: int) -> int | None:
        """Return how many tokens to learn from all languages of the stream before its first task; None for none."""

    def before_task(self, task: Task) -> None:
        """Look at a task before its first step; the lexicon has grown, nothing has been trained."""

    def extra_rows(self, task: Task) -> Tensor:
        """Return (k,) ids of rows that the method trains beside those of the task's own texts."""
        return NONE

    def row_scale(self, task: Task) -> RowScale | None:
        """Return the row scales of this task, or None for no scaling."""

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return named scalars to add to the loss of a step."""
        return {}

    def gradient_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return what to add to the gradients of a step, by parameter; the parameters' ``grad`` are formed already."""
        return {}

    def after_stage(self, task: Task, trained: Trained) -> None:
        """Look at a finished stage of a task that has several, before the next begins from what was kept of it."""

    def after_task(self, task: Task, trained: Trained) -> dict[str, Tensor]:
        """Look at a finished task; return what to add to its parameters, by name.

        The uses are not yet counted.
        """
        return {}

    def more_uses(self, task: Task) -> list[Tensor]:
        """Return ids (k,) that are counted as used once more after a task, beside those of its own texts."""
        return []

    def state_dict(self) -> dict[str, Tensor]:
        """Return what the method remembers between steps and tasks, by name.

        An interrupted run goes on from it, and so does the next language, if it is learnt with the same method later.

        Chance must come from a generator whose state is part of it.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Remember what ``state_dict`` returned."""
