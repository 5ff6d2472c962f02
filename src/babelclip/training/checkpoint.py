"""Checkpoints: folders that are there whole or not at all, a bounded number of them, the newest good one counts."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from babelclip.errors import FormatError, SettingError
from babelclip.files import TooNewError, check_folder, remove_folder, remove_temporaries, write_folder

TENSORS, STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One good checkpoint.

    Attributes:
        folder: where it lies; more files may lie there.
        tensors: by name.
        state: whatever JSON holds.
    """

    folder: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run in one folder; each is a folder with a manifest of sha256.

    A run is identified by what must be the same when it is resumed: settings, data, base model.
    """

    def __init__(
        self, folder: Path | str, *, every: float = 60.0, keep: int = 2, note: Callable[[str], None] = warnings.warn
    ) -> None:
        """Use a folder; it is made when something is saved.

        Args:
            folder: the folder.
            every: seconds between two checkpoints; 0 saves after every step.
            keep: how many good ones are kept; with 2, one may be damaged.
            note: told when a checkpoint is damaged and an older one is used.
        """
        self.folder, self.every, self.keep, self.note = Path(folder), every, keep, note
        self._last = time.monotonic()
        self._damaged: list[Path] = []
        if self.folder.is_dir():
            remove_temporaries(self.folder)

    def inside(self, name: str) -> Checkpoints:
        """Return the checkpoints of a part of the run, in a folder inside this one."""
        return Checkpoints(self.folder / name, every=self.every, keep=self.keep, note=self.note)

    @property
    def begun(self) -> bool:
        """Whether something was saved here before, in this folder or inside."""
        return self.folder.is_dir() and any(self.folder.rglob(STATE))

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last >= self.every

    def save(
        self,
        identity: Mapping[str, Any],
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        files: Mapping[str, bytes | str] | None = None,
    ) -> None:
        """Write the next checkpoint; remove what is damaged, and all but the newest ``keep``.

        Raises:
            BabelclipError: it cannot be written; earlier ones are untouched.
        """
        content = json.dumps({"identity": dict(identity), "state": dict(state)}, indent=1)
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        number = max((int(one.name) for one in self._all()), default=0) + 1
        write_folder(self.folder / f"{number:08}", {TENSORS: save(contiguous), STATE: content, **(files or {})})
        good = [one for one in self._all() if one not in self._damaged]
        for old in (*self._damaged, *good[: -self.keep]):
            remove_folder(old)
        self._damaged = []
        self._last = time.monotonic()

    def latest(self, identity: Mapping[str, Any]) -> Checkpoint | None:
        """Return the newest good checkpoint, or None where there is none at all.

        Raises:
            SettingError: it is of another run.
            FormatError: there are checkpoints, and all are damaged.
            TooNewError: a newer babelclip wrote it; no older one is taken for it.
        """
        found = self._all()
        for folder in reversed(found):
            try:
                check_folder(folder)
            except TooNewError:
                raise
            except FormatError as error:
                self.note(f"{error.file}: {error.what}; going back to the checkpoint before")
                self._damaged.append(folder)
                continue
            content = json.loads((folder / STATE).read_text(encoding="utf-8"))
            self._compare(content["identity"], json.loads(json.dumps(dict(identity))))
            return Checkpoint(folder, load_file(folder / TENSORS), content["state"])
        if found:
            raise FormatError(
                f"all {len(found)} checkpoints are damaged", file=self.folder, fix="Delete the folder to start again."
            )
        return None

    def clear(self) -> None:
        """Remove the folder: the run is finished."""
        if self.folder.is_dir():
            remove_folder(self.folder)

    def _all(self) -> list[Path]:
        """The checkpoints' folders, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(entry for entry in self.folder.iterdir() if entry.name.isdigit())

    def _compare(self, then: dict[str, Any], now: dict[str, Any]) -> None:
        different = [name for name in then | now if then.get(name) != now.get(name)]
        if different:
            listed = ", ".join(f"{name} was {_told(then, name)}, is {_told(now, name)}" for name in different)
            raise SettingError(
                f"{self.folder} holds checkpoints of another run: {listed}",
                fix="Start it again as it was, choose another folder, or delete this one.",
            )


def _told(values: Mapping[str, Any], name: str) -> str:
    """A value as messages have it; other versions may have written other ones down."""
    return repr(values[name]) if name in values else "not written down"
