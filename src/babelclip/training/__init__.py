"""Teach one language: a compact table of rows, the papers' optimiser step, the loop."""

from babelclip.training.loop import TaskReport, train_task
from babelclip.training.trainer import Batch, TaskTrainer

__all__ = ["Batch", "TaskReport", "TaskTrainer", "train_task"]
