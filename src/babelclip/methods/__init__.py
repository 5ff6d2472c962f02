"""Ideas against forgetting. A new method is one file and one line in ``METHODS``.

The objective (``cross_lingual`` L_cl + ``cross_modal`` L_cm) belongs to the training loop; a method only adds.
"""

from babelclip.methods.base import Method, RowScale, Step, Task
from babelclip.methods.cll import CLL
from babelclip.methods.stack import METHODS, Stack, compose
from babelclip.methods.teir import TEIR

__all__ = ["CLL", "METHODS", "TEIR", "Method", "RowScale", "Stack", "Step", "Task", "compose"]
