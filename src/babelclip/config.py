"""Settings: one frozen table, checked when made, with the papers' values as defaults."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from babelclip.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

SCALE_PLACES = ("gradient", "update")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TaskSettings:
    """How one language is taught. Defaults are those of CLL-CLIP (AAAI 2024): its batch, rate, schedule and weights."""

    vocab_size: int = 10_000
    """Tokens that the language's own byte-level BPE asks for, special tokens included."""
    initialiser: str | None = None
    """How new rows start: a name of ``lexicon.INITIALISERS``; None: as the methods ask for, else ``normal``."""
    epochs: int = 3
    """Passes over the training texts of the language."""
    batch_size: int = 128
    """Texts in a step; the last incomplete batch of an epoch is dropped."""
    bucket: int = 8
    """Batches that are sorted by length together, so that little is padded; 1 is the papers' plain shuffling."""
    learning_rate: float = 5e-5
    """Peak rate of AdamW, reached after the warm-up and then constant."""
    warm_up: float = 0.1
    """Share of all steps during which the rate rises linearly from 0."""
    weight_decay: float = 0.05
    """Decoupled decay of the token rows; the temperature is not decayed."""
    beta1: float = 0.9
    """Decay of Adam's first moment."""
    beta2: float = 0.999
    """Decay of Adam's second moment."""
    epsilon: float = 1e-6
    """Adam's epsilon; TEIR's gradient scale acts through it, so it is not 1e-8."""
    clip_norm: float = 1.0
    """Global gradient norm, clipped before any row scale."""
    scale_at: str = "gradient"
    """Where a method's row scale enters: ``gradient``, before Adam's moments, as published (Adam divides a constant
    scale out again), or ``update``, on the step itself (a scale of 0.5 halves it)."""
    cross_lingual: float = 1.0
    """Weight of the squared error to the English text vectors."""
    cross_modal: float = 0.01
    """Weight of the contrastive term to the image vectors."""
    temperature: float = 0.07
    """Start of the learnable temperature, which divides similarities and is new for every task."""
    precision: str = "float32"
    """What the frozen tower computes in: ``float32``, ``bfloat16`` or ``float16``; rows, losses and optimiser stay in
    float32. Falls back to float32 on a device without it."""
    seed: int = 0
    """Fixes new rows and the order of the texts; both depend on the language too, never on the method."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            SettingError: naming the setting, its value and the allowed range.
            UnknownNameError: ``scale_at`` is not one of ``SCALE_PLACES``, or ``precision`` of ``PRECISIONS``.
        """
        at_least = {
            "vocab_size": 300, "epochs": 1, "batch_size": 2, "bucket": 1, "learning_rate": 0, "warm_up": 0,
            "weight_decay": 0,
            "beta1": 0, "beta2": 0, "epsilon": 0, "clip_norm": 0, "cross_lingual": 0, "cross_modal": 0,
            "temperature": 0.001, "seed": 0,
        }  # fmt: skip
        at_most = {"warm_up": 1, "temperature": 0.5, "beta1": 0.9999, "beta2": 0.99999, "learning_rate": 1}
        for name, low in at_least.items():
            value, high = getattr(self, name), at_most.get(name, float("inf"))
            if not low <= value <= high:
                allowed = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
                raise SettingError(f"{name} is {value}", fix=f"It must be {allowed}.")
        if self.scale_at not in SCALE_PLACES:
            raise UnknownNameError("scale_at", self.scale_at, SCALE_PLACES)
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)
        if self.cross_lingual == self.cross_modal == 0:
            raise SettingError("cross_lingual and cross_modal are both 0", fix="Give one of them a weight above 0.")

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Return the settings by name, for results files."""
        return dataclasses.asdict(self)


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
        changes: in this order.

    Raises:
        UnknownNameError: there is no such setting.
        SettingError: a change has no ``=``, or its value is of the wrong kind or out of range.
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
            made[name] = kinds[name](text) if kinds[name] in (int, float) else text
        except ValueError as error:
            raise SettingError(
                f"{name} is {text!r}", fix=f"It must be a number of the kind of {defaults[name]}."
            ) from error
    return dataclasses.replace(settings, **made)


def derive_seed(*names: object) -> int:
    """Make a seed of 63 bits from names, so that each use of chance has a stream of its own.

    ``derive_seed(0, "rows", "de")`` is the same on every machine and independent of ``derive_seed(0, "order", "de")``.
    """
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
