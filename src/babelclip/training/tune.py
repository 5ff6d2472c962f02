"""MLA's fine-tuning on English (FT-En, papers 1.3 to 1.5): the whole CLIP, both towers, on pictures and captions."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from babelclip import __version__
from babelclip.config import check_ranges, derive_seed
from babelclip.data import Corpus
from babelclip.encoders import DualEncoder, load_encoder
from babelclip.encoders.clip import ClipEncoder
from babelclip.encoders.tower import first_ends
from babelclip.errors import ModelError
from babelclip.lexicon.store import LEXICON, read_lexicon_file
from babelclip.training.batches import plan_epoch, prepare_ahead
from babelclip.training.checkpoint import Checkpoints
from babelclip.training.log import OnStep, StepReport
from babelclip.training.pairs import PairBatch, Pairs
from babelclip.training.tuned import Tuned, TuneReport, write_card
from babelclip.training.tuner import TEMPERATURE, Tuner
from babelclip.training.workers import Workers


@dataclass(frozen=True)
class TuneSettings:
    """How a base model is tuned on English. Defaults are those of MLA's FT-En."""

    epochs: int = 5
    """Passes over the pairs."""
    batch_size: int = 128
    """Texts in a step, each with its picture; the last incomplete batch of an epoch is dropped."""
    learning_rate: float = 3e-6
    """Peak rate of Adam, reached after the warm-up."""
    warm_up: float = 0.1
    """Share of all steps during which the rate rises linearly from 0; then it follows half a cosine down to 0."""
    weight_decay: float = 0.2
    """Decoupled decay of matrices, scaled by the rate; vectors and scalars (biases, norms) are not decayed."""
    beta1: float = 0.9
    """Decay of Adam's first moment."""
    beta2: float = 0.98
    """Decay of Adam's second moment."""
    epsilon: float = 1e-6
    """Adam's epsilon."""
    clip_norm: float = 1.0
    """Gradient norm of each tensor, clipped on its own."""
    seed: int = 0
    """Fixes the order of the pairs."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            SettingError: naming the setting, its value and the allowed range.
        """
        at_least = {
            "epochs": 1, "batch_size": 2, "learning_rate": 0, "warm_up": 0, "weight_decay": 0, "beta1": 0, "beta2": 0,
            "epsilon": 0, "clip_norm": 0, "seed": 0,
        }  # fmt: skip
        check_ranges(self, at_least, {"learning_rate": 1, "warm_up": 1, "beta1": 0.9999, "beta2": 0.99999})

    def as_dict(self) -> dict[str, float | int]:
        """Return the settings by name."""
        return dataclasses.asdict(self)


def tune_english(
    base: Path | str | DualEncoder,
    corpus: Corpus,
    settings: TuneSettings | None = None,
    *,
    validation: Sequence[Corpus] = (),
    on_step: OnStep | None = None,
    checkpoints: Checkpoints | None = None,
    device: str | None = None,
) -> Tuned:
    """Train all weights of a CLIP on pictures and their English texts, both towers, in float32.

    L = 1/2 [CE(100 V T^T) + CE(100 T V^T)] with V and T of length 1; ``logit_scale`` is not used and stays as it is.
    MLA's released code decays the weights of CLIP's layer norms as well; there is no such variant here.

    Args:
        base: ``pictoclip``, a ``CLIPModel`` folder, a hub id, or one that is loaded already; it is not changed.
        corpus: captions of any language with picture files; their English is used.
        settings: by default MLA's.
        validation: the epoch with the best mean r_mean on these is kept; without any, the last.
        on_step: told about every step.
        checkpoints: saved to after each epoch, and gone on from: it ends with the same weights, bit for bit (float32 on
            a CPU), as if it had never been interrupted. One holds up to four times the model's weights.
        device: ``cpu``, ``cuda``, ...; by default a GPU where there is one.

    Raises:
        DataError: there are fewer than 2 texts or pictures, or a picture is damaged.
        ModelError: the base model cannot be loaded or is no ``CLIPModel``, or the loss is not finite any more.
        SettingError: the corpus has vectors and no pictures, or the checkpoints are of another run.
        FormatError: all checkpoints are damaged.
    """
    encoder, settings = load_base(base, device), settings or TuneSettings()
    pairs, held_out = Pairs.of(corpus, encoder), [Pairs.of(one, encoder) for one in validation]
    pairs.check()
    count = len(pairs.sequences)
    batch_size = min(settings.batch_size, count)
    per_epoch = count // batch_size
    tuner = Tuner(encoder.load_whole(), settings, steps=per_epoch * settings.epochs, device=encoder.device)
    report = TuneReport(left_out=count - per_epoch * batch_size)
    identity = {
        "babelclip": __version__, "base model": encoder.fingerprint[:12], "data": pairs.fingerprint[:12],
        "validation data": [one.fingerprint[:12] for one in held_out], **settings.as_dict(),
        **Workers(encoder.device).machine(),
    }  # fmt: skip
    found = None if checkpoints is None else checkpoints.latest(identity)
    if found is not None:
        report = TuneReport(**found.state)
        tuner.load_state_dict(found.tensors)
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "order", "tune"))
    for epoch in range(settings.epochs):
        plan = plan_epoch(torch.zeros(count), batch_size, 1, generator)
        if epoch < len(report.losses):  # after a restart; the plans of past epochs are only drawn
            continue
        _run_epoch(tuner, pairs, plan, report, on_step)
        report.epoch = epoch + 1
        if held_out:
            report.scores.append(sum(one.r_mean(tuner.model) for one in held_out) / len(held_out))
            report.epoch = 1 + max(range(epoch + 1), key=report.scores.__getitem__)
            if report.epoch == epoch + 1:
                tuner.keep()
        if checkpoints is not None:
            checkpoints.save(identity, asdict(report), tuner.state_dict())
    tuner.take_kept()
    return Tuned(tuner.model, encoder, report, write_card(encoder, pairs, settings.as_dict(), report))


def _run_epoch(tuner: Tuner, pairs: Pairs, plan: list[Tensor], report: TuneReport, on_step: OnStep | None) -> None:
    """Make the steps of one epoch, count, and tell."""
    losses: list[float] = []
    ended = time.perf_counter()
    for batch in prepare_ahead(plan, pairs.make):
        loss, norm, rate = tuner.step(batch)
        seconds = time.perf_counter() - ended
        losses.append(loss)
        report.seconds += seconds
        report.steps += 1
        if on_step is not None:
            on_step(_tell(batch, pairs, report, tuner.steps, loss, norm, rate, seconds))
        ended = time.perf_counter()
    report.losses.append(sum(losses) / len(losses))


def _tell(
    batch: PairBatch, pairs: Pairs, report: TuneReport, steps: int, loss: float, norm: float, rate: float,
    seconds: float,
) -> StepReport:  # fmt: skip
    """What happened in a step."""
    tokens = int((first_ends(batch.ids, pairs.encoder.frame.eos) + 1).sum())
    return StepReport(
        language="en", task=0, epoch=len(report.losses) + 1, step=report.steps, steps=steps,
        terms={"contrastive": loss}, gradient_norm=norm, learning_rate=rate, temperature=TEMPERATURE,
        texts=len(batch.ids), tokens=tokens, places=batch.ids.numel(), seconds=seconds,
    )  # fmt: skip


def load_base(base: Path | str | DualEncoder, device: str | None = None) -> ClipEncoder:
    """Load a base model that can be trained as a whole; one that is loaded already is returned.

    Raises:
        ModelError: it cannot be loaded, is no ``CLIPModel``, or is a folder of learnt languages.
    """
    if isinstance(base, (Path, str)):
        if (Path(base) / LEXICON).is_file():
            raise ModelError(
                f"{str(base)!r} is a folder of learnt languages, not a base model",
                fix=f"Tune the base model that they were learnt on, {read_lexicon_file(Path(base)).base!r}, and plug "
                "them into the result.",
            )
        base = load_encoder(base, device=device)
    if not isinstance(base, ClipEncoder):
        raise ModelError(f"{base.name} is no CLIPModel of transformers", fix="Give a CLIPModel folder or its hub id.")
    return base
