"""Pure loss functions: tensors in, a scalar out."""

from babelclip.objectives.contrastive import contrastive
from babelclip.objectives.distillation import distillation
from babelclip.objectives.sigmoid import sigmoid

__all__ = ["contrastive", "distillation", "sigmoid"]
