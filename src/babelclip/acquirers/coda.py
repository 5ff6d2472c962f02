"""CODA-Prompt: prompts that are sums of components, weighted by attention to the text's query (papers 2.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from babelclip.acquirers.base import Texts
from babelclip.acquirers.prompts import PromptInsert, PromptPick, Prompts
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import TowerShape

FIRST, LAST = 0, 4


class CodaPrompts(Prompts):
    """prompt = sum_m w_m P_m with w_m = cos(query * A_m, K_m), in layers 0 to 4, over the components of all languages.

    A language brings ``components`` new ones; those of earlier languages take part but are not trained. New P, K and A
    are unit vectors and, by Gram-Schmidt, orthogonal to each other and to all earlier ones, as long as there is room.
    """

    name = "coda"

    def __init__(self, shape: TowerShape, *, components: int = 5, length: int = 2) -> None:
        """Fit a tower; ``length`` of a prompt: half of it keys, half values."""
        super().__init__(shape, components=components, length=length)
        self._components, self._length = components, length

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the components of a language."""
        sizes = {"prompt": (self._length, self.shape.width), "key": (self.shape.dim,), "attention": (self.shape.dim,)}
        made = {}
        for layer in self.layers(FIRST, LAST):
            for part, size in sizes.items():
                name = f"{layer}.{part}"
                earlier = self.together(name) if self.languages else torch.empty(0, *size)
                new = orthonormal(self._components, earlier.flatten(1).cpu(), generator)
                made[name] = new.unflatten(1, size).to(encoder.device)
        self.modules[language] = made

    def pick(self, texts: Texts) -> PromptPick:
        """Weigh the components for each text; every text is a group of its own."""
        prompts, components = {}, []
        for layer in self.layers(FIRST, LAST):
            parts = [self.together(f"{layer}.{part}") for part in ("attention", "key", "prompt")]
            attention, keys, prompt = parts
            weights = attend(self.queries(texts, keys), attention, keys)
            prompts[layer] = torch.einsum("bm,mlw->blw", weights, prompt)
            components += [part.flatten(1) for part in parts]
        return PromptPick(torch.arange(len(texts.languages)), Composed(prompts, components))


class Composed(PromptInsert):
    """Prompts, and what they were put together from.

    Attributes:
        components: (M, size) A, K and P of each layer, over the M components of all languages.
    """

    def __init__(self, prompts: Mapping[int, Tensor], components: Sequence[Tensor]) -> None:
        """Keep them."""
        super().__init__(prompts)
        self.components = components


def attend(queries: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """Return (B, M) cos(query * A_m, K_m) without forming (B, M, dim): |q * A|^2 = q^2 . A^2, in float32.

    Args:
        queries: (B, dim).
        attention: (M, dim) A.
        keys: (M, dim) K.
    """
    with torch.autocast(queries.device.type, enabled=False):
        products = queries @ (attention * normalize(keys, dim=1)).T
        lengths = (queries.square() @ attention.square().T).clamp_min(1e-24).sqrt()
        return products / lengths


def orthonormal(count: int, earlier: Tensor, generator: torch.Generator) -> Tensor:
    """Return (count, size) unit vectors, orthogonal to (M, size) earlier ones and to each other.

    Where there is no room for another orthogonal one, it is any unit vector.
    """
    size = earlier.shape[1]
    basis = torch.linalg.qr(earlier.double().T).Q.T  # (min(M, size), size)
    made = []
    for _ in range(count):
        new = torch.empty(size, dtype=torch.float64).normal_(generator=generator)
        if len(basis) < size:
            new = new - basis.T @ (basis @ new)
            basis = torch.cat([basis, normalize(new, dim=0)[None]])
        made.append(normalize(new, dim=0).float())
    return torch.stack(made)
