"""The vocabulary of a whole stream before its first task, where a method asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from babelclip.config import TaskSettings, derive_seed
from babelclip.continual.student import Student
from babelclip.data import Examples
from babelclip.lexicon import Wish
from babelclip.methods import Stack


def complete_vocabulary(
    student: Student, stack: Stack, settings: TaskSettings, train: Sequence[Examples], *, begun: bool
) -> None:
    """Learn one BPE from the training texts of all languages, in any order, if the methods want one.

    Args:
        student: its lexicon is replaced.
        stack: the methods.
        settings: of each task.
        train: training texts of each language.
        begun: the stream goes on, and its vocabulary was learnt when it started.
    """
    size = stack.vocabulary_size(settings, len(train))
    if size is None:
        return
    if begun:
        lexicon = replace(student.lexicon, complete=True)
    else:
        lexicon = student.lexicon.copy()
        lexicon.complete_with(
            [text for examples in train for text in examples.texts], Wish.of(settings, size),
            initialiser=stack.settle(settings).initialiser or "normal",
            generator=torch.Generator().manual_seed(derive_seed(settings.seed, "rows", "all")),
        )  # fmt: skip
    student.learnt = replace(student.learnt, lexicon=lexicon)
