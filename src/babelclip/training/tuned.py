"""A tuned base model: what happened, and an ordinary folder of it with a README.md."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transformers import CLIPModel

from babelclip import __version__
from babelclip.encoders.clip import ClipEncoder
from babelclip.files import new_folder
from babelclip.training.pairs import Pairs


@dataclass
class TuneReport:
    """What happened; goes into checkpoints.

    Attributes:
        steps: optimiser steps made.
        seconds: of all steps, pictures included.
        losses: mean loss of each epoch.
        scores: mean r_mean on the validation sets after each epoch; empty without any.
        epoch: the epoch kept, from 1.
        left_out: pairs an epoch in its last, incomplete batch.
    """

    steps: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    epoch: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Tuned:
    """A base model after it was tuned.

    Attributes:
        model: the weights of the epoch kept.
        encoder: the model as it was before.
        report: what happened.
        card: what its README.md says.
    """

    model: CLIPModel
    encoder: ClipEncoder
    report: TuneReport
    card: str

    def save(self, folder: Path | str, *, inside: Path | None = None, log: Path | None = None) -> None:
        """Write an ordinary ``CLIPModel`` folder with a README.md: all of it, or nothing.

        Args:
            folder: where it shall stand; nothing stands there yet.
            inside: what holds it until it is whole; by default the folder's parent.
            log: a file that a copy of goes with it.

        Raises:
            BabelclipError: the disk is full or the place cannot be written to.
        """
        with new_folder(Path(folder), inside=inside) as place:
            self.encoder.write_whole(self.model, place)
            (place / "README.md").write_text(self.card, encoding="utf-8")
            if log is not None:
                shutil.copy(log, place)


def write_card(encoder: ClipEncoder, pairs: Pairs, settings: Mapping[str, object], report: TuneReport) -> str:
    """Return the README.md of a tuned model: where it comes from, what it saw, with which settings."""
    number, loss = report.epoch, report.losses[report.epoch - 1]
    score = f"; r_mean {report.scores[number - 1]:.1f} % on the validation captions" if report.scores else ""
    rows = "".join(f"| {name} | {value} |\n" for name, value in settings.items())
    return f"""# {Path(encoder.name).name}, tuned on English

An ordinary `transformers.CLIPModel` folder, written by babelclip {__version__}: both towers were trained on English
captions (MLA's FT-En).

- Base model: {encoder.name}, fingerprint {encoder.fingerprint}.
  Its licence holds for these weights too. Tokenizer and picture preparation are its own; `logit_scale` was not used.
- Data: {len(pairs.sequences):,} captions of {len(pairs.files):,} pictures, fingerprint {pairs.fingerprint[:12]}.
- Kept: epoch {number} of {len(report.losses)}, {report.steps:,} steps in all; loss {loss:.3f}{score}.
- Languages learnt on the base model can be plugged in, if tokenizer and text tower are the same in shape:
  `babelclip evaluate --model LEARNT --base THIS_FOLDER --plug-in --language XX --data XX.tsv`.

| setting | value |
|---|---|
{rows}"""
