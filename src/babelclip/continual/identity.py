"""What must be the same for two results to stand in one table: code, data, base model, settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import babelclip
from babelclip.config import TaskSettings
from babelclip.continual.student import Student
from babelclip.data import Examples
from babelclip.training.workers import Workers

ROOMS = (
    "encoders",
    "objectives",
    "lexicon",
    "evaluation",
    "data",
    "acquirers",
    "methods",
    "training",
    "continual",
    "packs",
)
"""Rooms of the package that scores depend on, beside ``config.py``."""


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return the sha256 over the source of all that scores depend on."""
    root = Path(babelclip.__file__).parent
    files = [root / "config.py", *(file for room in ROOMS for file in sorted((root / room).rglob("*.py")))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def data_fingerprint(examples: Iterable[Examples]) -> str:
    """Return the sha256 over texts, pictures and teacher vectors."""
    return hashlib.sha256(repr([each.fingerprint() for each in examples]).encode()).hexdigest()


def identify(
    student: Student, order: list[str], method: str, settings: TaskSettings, examples: Iterable[Examples]
) -> dict[str, Any]:
    """Return what must be the same when a stream is resumed."""
    rows = hashlib.sha256(student.lexicon.table.numpy().ravel().data)
    rows.update(student.lexicon.base_tokenizer.to_str().encode())
    for name, tensor in sorted(student.learnt.acquirers.tensors().items()):
        rows.update(name.encode())
        rows.update(tensor.numpy().ravel().data)
    return {
        "code": code_fingerprint()[:12], **Workers(student.encoder.device, settings.precision).machine(),
        "base model": student.encoder.fingerprint[:12], "known": student.languages,
        "order": order, "method": method, "data": data_fingerprint(examples)[:12], "rows": rows.hexdigest()[:12],
        **settings.as_dict(),
    }  # fmt: skip
