"""Many languages, one after another: a student model, and streams of tasks that are measured."""

from babelclip.continual.stream import Stage, Stream, run_stream
from babelclip.continual.student import Student, load

__all__ = ["Stage", "Stream", "Student", "load", "run_stream"]
