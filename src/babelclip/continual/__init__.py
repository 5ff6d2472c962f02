"""Many languages, one after another: a student model, and streams of tasks that are measured."""

from babelclip.continual.identity import code_fingerprint, data_fingerprint
from babelclip.continual.measure import Evaluator, Gallery
from babelclip.continual.record import Stage
from babelclip.continual.stream import Stream, run_stream
from babelclip.continual.student import Student, load

__all__ = [
    "Evaluator", "Gallery", "Stage", "Stream", "Student", "code_fingerprint", "data_fingerprint", "load", "run_stream",
]  # fmt: skip
