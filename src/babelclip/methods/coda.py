"""CODA-Prompt (Smith et al., CVPR 2023); as CLL-CLIP compares it, without the penalty of orthogonality (papers 2.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from babelclip.acquirers import Acquirer, CodaPrompts
from babelclip.acquirers.coda import Composed
from babelclip.encoders.insert import TowerShape
from babelclip.errors import SettingError
from babelclip.methods.base import Method, Step, Task


@dataclass
class Coda(Method):
    """Prompts in layers 0 to 4 that are sums of components, weighted by attention to the text's own vector.

    A language brings new components; those of earlier languages take part and are not trained. Half of a prompt are
    keys, half values. Layers that the tower does not have get none: of 4 layers, as in ``pictoclip``, all have prompts.
    Queries as for ``dualprompt``, for the same reason.

    New components start orthogonal to the old ones where there is room. The original also has a penalty that keeps them
    so: with one component a row of B, the mean of (B B^T - I)^2, summed over layers and over P, K and A. CLL-CLIP's
    comparison leaves it out, and so does the default, or the figures would not stand beside the published ones.
    ``orthogonal`` adds it.

    Attributes:
        components: new ones a language and layer.
        length: of a prompt.
        orthogonal: weight of the penalty.
    """

    components: int = 5
    length: int = 2
    orthogonal: float = 0.0

    name = "coda"
    idea = "Prompts put together from the components of all languages, weighted by attention to the text's own vector."
    paper = "Smith et al., CVPR 2023 (CODA-Prompt); as compared in Yang et al., AAAI 2024"
    equation = "prompt = sum_m cos(query * A_m, K_m) P_m"

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        self.check_number("components", at_least=1)
        if self.length < 2 or self.length % 2:
            raise SettingError(f"coda(length={self.length})", fix="It must be even, at least 2.")
        self.check_number("orthogonal", at_least=0)

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the components."""
        return CodaPrompts(shape, components=self.components, length=self.length)

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the penalty of orthogonality, where it has a weight."""
        if not self.orthogonal:
            return {}
        found = next(insert.components for insert in step.inserts if isinstance(insert, Composed))
        apart = [(one @ one.T - torch.eye(len(one)).to(one)).square().mean() for one in found]
        return {"orthogonal": self.orthogonal * torch.stack(apart).sum()}
