"""Teach one language: a compact table of rows, the papers' optimiser step, the loop, checkpoints, the log."""

from babelclip.training.checkpoint import Checkpoints
from babelclip.training.log import JsonlLog, OnStep, StepReport, TensorBoardLog
from babelclip.training.loop import Validation
from babelclip.training.task import TaskReport, train_task
from babelclip.training.trainer import TaskTrainer
from babelclip.training.workers import Workers

__all__ = [
    "Checkpoints", "JsonlLog", "OnStep", "StepReport", "TaskReport", "TaskTrainer", "TensorBoardLog",
    "Validation", "Workers", "train_task",
]  # fmt: skip
