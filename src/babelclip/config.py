"""Settings: one frozen table, checked when made, with the papers' values as defaults."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from babelclip.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_MODEL = "pictoclip"
"""The base model that comes with babelclip."""

Settings = TypeVar("Settings", bound="DataclassInstance")

SCALE_PLACES = ("gradient", "update")
PRECISIONS = ("float32", "bfloat16", "float16")
CHOICES = {
    "scale_at": SCALE_PLACES, "precision": PRECISIONS, "optimiser": ("adamw", "bert-adam"),
    "clip": ("global", "tensor"), "schedule": ("constant", "cosine"), "clock": ("task", "parameter"),
    "batches": ("mixed", "language"), "merges_from": ("letters", "remains"),
    "cross_lingual_loss": ("mse", "nce"), "cross_modal_loss": ("nce", "mse", "sigmoid"),
}  # fmt: skip
"""Settings that are one of some names."""


@dataclass(frozen=True)
class TaskSettings:
    """How one language is taught. Defaults are those of CLL-CLIP (AAAI 2024): its batch, rate, schedule and weights."""

    vocab_size: int = 10_000
    """Tokens that the language's own vocabulary asks for; in a byte-level BPE, as CLIP's, special tokens count too."""
    min_count: int = 0
    """A piece that is joined of smaller ones (of bytes, in CLIP's tokenizer) becomes a token only where it occurs so
    often in the training texts. The papers take any, but a row seen twice knows little (docs/tokenizers.md)."""
    merges_from: str = "letters"
    """What merges of a byte-level BPE, as CLIP's, are learnt from: ``letters``, as in the papers, or ``remains``: what
    the merges that are there leave of the words, so that each new one can fire."""
    initialiser: str | None = None
    """How new rows start: a name of ``lexicon.INITIALISERS``; None: as the methods ask for, else ``normal``."""
    epochs: int = 3
    """Passes over the training texts of the language."""
    batch_size: int = 128
    """Texts in a step; the last incomplete batch of an epoch is dropped."""
    bucket: int = 8
    """Batches that are sorted by length together, so that little is padded; 1 is the papers' plain shuffling."""
    learning_rate: float = 5e-5
    """Peak rate of the optimiser, reached after the warm-up."""
    warm_up: float = 0.1
    """Share of all steps during which the rate rises linearly from 0."""
    schedule: str = "constant"
    """What follows the warm-up: ``constant``, or ``cosine``: rate (1 + cos(pi x)) / 2 at the share x of all steps."""
    clock: str = "task"
    """What steps the schedule counts: ``task``, all; ``parameter``, for each parameter those in which it has a
    gradient, so that modules of one language among several lag behind."""
    batches: str = "mixed"
    """Where several languages are learnt at once: ``mixed``, or ``language``: one language a batch, drawn uniformly."""
    optimiser: str = "adamw"
    """``adamw``, or ``bert-adam``, which leaves out the bias correction."""
    weight_decay: float = 0.05
    """Decoupled decay of token rows and matrices; vectors and the temperature are not decayed."""
    idle_decay: bool = True
    """Whether rows decay that the task's texts do not use, as plain AdamW on the whole table does."""
    beta1: float = 0.9
    """Decay of Adam's first moment."""
    beta2: float = 0.999
    """Decay of Adam's second moment."""
    epsilon: float = 1e-6
    """Adam's epsilon; TEIR's gradient scale acts through it, so it is not 1e-8."""
    clip_norm: float = 1.0
    """Largest gradient norm, clipped before any row scale."""
    clip: str = "global"
    """Whose norm that is: ``global``, all parameters' together, or ``tensor``, each parameter's own."""
    scale_at: str = "gradient"
    """Where a method's row scale enters: ``gradient``, before Adam's moments, as published (Adam divides a constant
    scale out again), or ``update``, on the step itself (a scale of 0.5 halves it)."""
    cross_lingual: float = 1.0
    """Weight of the term that leads to the English text vectors."""
    cross_lingual_loss: str = "mse"
    """That term: ``mse``, the squared error, or ``nce``, contrastive."""
    cross_modal: float = 0.01
    """Weight of the term that leads to the image vectors."""
    cross_modal_loss: str = "nce"
    """That term: ``nce``, contrastive, ``mse``, the squared error, or ``sigmoid``, SigLIP's own, with the scale and the
    bias of the base model (docs/training.md)."""
    temperature: float = 0.07
    """Start of the temperature, which divides similarities and is new for every task."""
    learn_temperature: bool = True
    """Whether the temperature is trained."""
    frozen: str = ""
    """What is not trained: beginnings of parameters' names, separated by spaces, such as ``rows projection/``."""
    precision: str = "float32"
    """What the frozen tower computes in: ``float32``, ``bfloat16`` or ``float16``; rows, losses and optimiser stay in
    float32. Falls back to float32 on a device without it."""
    seed: int = 0
    """Fixes new rows and the order of the texts; both depend on the language too, never on the method."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            SettingError: naming the setting, its value and the allowed range.
            UnknownNameError: a name is not one of its ``CHOICES``.
        """
        at_least = {
            "vocab_size": 300, "min_count": 0, "epochs": 1, "batch_size": 2, "bucket": 1, "learning_rate": 0,
            "warm_up": 0, "weight_decay": 0, "beta1": 0, "beta2": 0, "epsilon": 0, "clip_norm": 0, "cross_lingual": 0,
            "cross_modal": 0, "temperature": 0.001, "seed": 0,
        }  # fmt: skip
        at_most = {"warm_up": 1, "temperature": 0.5, "beta1": 0.9999, "beta2": 0.99999, "learning_rate": 1}
        check_ranges(self, at_least, at_most)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        if self.cross_lingual == self.cross_modal == 0:
            raise SettingError("cross_lingual and cross_modal are both 0", fix="Give one of them a weight above 0.")

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Return the settings by name, for results files."""
        return dataclasses.asdict(self)


def check_ranges(settings: object, at_least: Mapping[str, float], at_most: Mapping[str, float]) -> None:
    """Refuse attributes below or above what is allowed.

    Raises:
        SettingError: naming the setting, its value and the allowed range.
    """
    for name, low in at_least.items():
        value, high = getattr(settings, name), at_most.get(name, float("inf"))
        if not low <= value <= high:
            allowed = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
            raise SettingError(f"{name} is {value}", fix=f"It must be {allowed}.")


PAPER = TaskSettings()
PICTOCLIP = TaskSettings(vocab_size=2000, batch_size=32, learning_rate=3e-3)
"""The recipe of the built-in model, for its 2,650 names a language; chosen on the validation split (dev/LOG.md). Its
246 steps make rate x steps = 0.70, close to the papers' 0.63 in 13,281 steps, so that idle rows decay alike."""


def recipe_for(base: str) -> TaskSettings:
    """Return the settings to begin with for a base model: ``PICTOCLIP`` for the built-in one, else ``PAPER``."""
    return PICTOCLIP if base == "pictoclip" else PAPER


def change_settings(settings: Settings, changes: Sequence[str]) -> Settings:
    """Return settings with changes of the form ``name=value`` made, as they come from a command line.

    Args:
        settings: a frozen dataclass whose fields all have defaults, of the kinds that they take.
        changes: in any order.

    Raises:
        UnknownNameError: there is no such setting.
        SettingError: a change has no ``=``, or its value is of the wrong kind or out of range, or a setting is given
            twice with different values.
    """
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(settings)}
    kinds = {name: type(default) for name, default in defaults.items()}
    made: dict[str, Any] = {}
    for change in changes:
        name, equals, text = (part.strip() for part in change.partition("="))
        if not equals:
            raise SettingError(f"{change!r} is not a setting", fix="Write NAME=VALUE, such as epochs=5.")
        if name not in kinds:
            raise UnknownNameError("setting", name, kinds)
        try:
            value = read_value(kinds[name] if kinds[name] in (int, float, bool) else str, text)
        except ValueError as error:
            kind = "true or false" if kinds[name] is bool else f"a number of the kind of {defaults[name]}"
            raise SettingError(f"{name} is {text!r}", fix=f"It must be {kind}.") from error
        if str(made.setdefault(name, value)) != str(value):  # nan is not equal to itself
            raise SettingError(f"{name} is given twice: {made[name]} and {value}", fix="Give it once.")
    return dataclasses.replace(settings, **made)


def read_value(kind: Callable[[str], Any], text: str) -> Any:
    """Return a value as it is written on a command line, of a kind: str, int, float or bool.

    Raises:
        ValueError: it is not of this kind.
    """
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def derive_seed(*names: object) -> int:
    """Make a seed of 63 bits from names, so that each use of chance has a stream of its own.

    ``derive_seed(0, "rows", "de")`` is the same on every machine and independent of ``derive_seed(0, "order", "de")``.
    """
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
