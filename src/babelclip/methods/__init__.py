"""Ideas against forgetting. A new method is one file and one line in ``METHODS``.

The objective (``cross_lingual`` L_cl + ``cross_modal`` L_cm) belongs to the training loop; a method only adds.
"""

from babelclip.methods.base import Method, RowScale, Step, Task, Trained
from babelclip.methods.names import options_of, split_names
from babelclip.methods.registry import METHODS, compose
from babelclip.methods.stack import Stack

__all__ = ["METHODS", "Method", "RowScale", "Stack", "Step", "Task", "Trained", "compose", "options_of", "split_names"]
