"""DualPrompt: general prompts for all texts, and one expert a language that is found by its keys (papers 2.9)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from babelclip.acquirers.base import SHARED, Texts
from babelclip.acquirers.prompts import PromptInsert, PromptPick, Prompts
from babelclip.encoders import DualEncoder
from babelclip.encoders.insert import TowerShape

GENERAL, EXPERT = (0, 1), (2, 4)
"""First and last layer of each sort."""


class DualPrompts(Prompts):
    """General prompts in layers 0 and 1, trained by every task; expert prompts in layers 2 to 4, each with a key.

    In training a text gets its own language's expert. Where the language may not be used, each layer takes the expert
    whose key has the largest cosine with the text's query. One key a layer, and all from U(-1, 1), as in the published
    code.
    """

    name = "dualprompt"

    def __init__(self, shape: TowerShape, *, general: int = 2, length: int = 16, last: int = EXPERT[1]) -> None:
        """Fit a tower.

        Args:
            shape: its sizes.
            general: length of a general prompt, half of it keys and half values.
            length: the same of an expert prompt.
            last: last layer with expert prompts.
        """
        super().__init__(shape, general=general, length=length, last=last)
        self._general, self._length, self._last = general, length, last

    @property
    def expert_layers(self) -> range:
        """Layers with expert prompts."""
        return self.layers(EXPERT[0], self._last)

    def begin(self, language: str, encoder: DualEncoder, generator: torch.Generator) -> None:
        """Make the expert of a language, and before the first one the general prompts."""

        def uniform(*size: int) -> Tensor:
            return torch.empty(size).uniform_(-1, 1, generator=generator).to(encoder.device)

        if SHARED not in self.modules:
            self.modules[SHARED] = {
                f"{layer}.prompt": uniform(self._general, self.shape.width) for layer in self.layers(*GENERAL)
            }
        self.modules[language] = {}
        for layer in self.expert_layers:
            self.modules[language] |= {
                f"{layer}.prompt": uniform(1, self._length, self.shape.width),
                f"{layer}.key": uniform(1, self.shape.dim),
            }

    def pick(self, texts: Texts) -> PromptPick:
        """Choose an expert for each text and layer."""
        count, number = len(texts.languages), {tag: place for place, tag in enumerate(self.languages)}
        told = [number.get(tag or "", -1) if texts.training else -1 for tag in texts.languages]
        general = self.modules[SHARED]
        prompts = {layer: general[f"{layer}.prompt"].expand(count, -1, -1) for layer in self.layers(*GENERAL)}
        choices, pull = [torch.zeros(count, dtype=torch.int64)], []
        for layer in self.expert_layers:
            keys = self.together(f"{layer}.key")
            cosines = cosine_similarity(self.queries(texts, keys)[:, None], keys[None], dim=2)  # (B, languages)
            own = torch.tensor(told, device=keys.device)
            chosen = torch.where(own < 0, cosines.argmax(dim=1), own)
            prompts[layer] = self.together(f"{layer}.prompt")[chosen]
            pull.append(1 - cosines.gather(1, chosen[:, None]))
            choices.append(chosen.cpu())
        groups = torch.stack(choices, dim=1).unique(dim=0, return_inverse=True)[1]
        return PromptPick(groups, Chosen(prompts, torch.cat(pull, dim=1) if pull else None))


class Chosen(PromptInsert):
    """General prompts and the experts that were chosen.

    Attributes:
        pull: (B, E) 1 - cos(query, key) of the experts of the E layers, with gradient to the keys; None where the tower
            has no such layer.
    """

    def __init__(self, prompts: Mapping[int, Tensor], pull: Tensor | None) -> None:
        """Keep them."""
        super().__init__(prompts)
        self.pull = pull
