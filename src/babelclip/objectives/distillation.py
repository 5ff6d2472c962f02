"""Cross-lingual objective: meet the English teacher (CLL-CLIP, papers' L_cl; MLA's L_NLT)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import mse_loss

if TYPE_CHECKING:
    from torch import Tensor


def distillation(texts: Tensor, teachers: Tensor) -> Tensor:
    """L_cl = 1/(B d) * sum_b ||f(y_b) - z(x_b)||^2, on vectors that are not normalised.

    Args:
        texts: (B, d) student vectors of the texts in the new language.
        teachers: (B, d) the base model's vectors of the English texts; no gradient.
    """
    return mse_loss(texts, teachers)
