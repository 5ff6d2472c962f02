"""Training as the published code does it, written out again: the baseline that ratios are taken against.

The whole table is the parameter, and so are its gradient, both moments and the decay; batches come in the order of the
corpus and are padded to their longest text; the tokenizer runs inside the loop; float32. Two things are better than in
the published code, to be fair: teacher vectors are given, and no attention mask is built.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection

from babelclip.config import TaskSettings
from babelclip.objectives import contrastive, distillation


class DenseTrainer:
    """Dense AdamW on a (V, width) table under a frozen CLIP text tower."""

    def __init__(
        self, model: CLIPTextModelWithProjection, table: Tensor, tokenizer: Tokenizer, settings: TaskSettings,
        *, bos: int, eos: int,
    ) -> None:  # fmt: skip
        """Copy the table; ``model`` is frozen, its own token table is not used."""
        self._tower, self._project = model.text_model, model.text_projection
        self._tokenizer, self._bos, self._eos = tokenizer, bos, eos
        device = model.device
        self.table = nn.Embedding.from_pretrained(table.clone().to(device), freeze=False)
        self.temperature = nn.Parameter(torch.tensor(settings.temperature, device=device))
        self._settings = settings
        self._optimiser = torch.optim.AdamW(
            [{"params": [self.table.weight]}, {"params": [self.temperature], "weight_decay": 0.0}],
            lr=settings.learning_rate, weight_decay=settings.weight_decay, eps=settings.epsilon,
        )  # fmt: skip

    def step(self, texts: list[str], teachers: Tensor, images: Tensor, image_ids: Tensor) -> float:
        """Train on one batch; return the loss."""
        cut = [encoding.ids[:75] for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=False)]
        longest = max(map(len, cut))
        ids = torch.tensor([[self._bos, *one, *[self._eos] * (longest + 1 - len(one))] for one in cut])
        device = self.temperature.device
        ids, teachers, images, image_ids = (one.to(device) for one in (ids, teachers, images, image_ids))
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
        vectors = self._encode(ids)
        loss = self._settings.cross_lingual * distillation(vectors, teachers)
        loss = loss + self._settings.cross_modal * contrastive(vectors, images, image_ids, self.temperature)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([self.table.weight, self.temperature], self._settings.clip_norm)
        self._optimiser.step()
        return float(loss.detach())

    def _encode(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids) + self._tower.embeddings.position_embedding.weight[: ids.shape[1]]
        hidden = self._tower.encoder(inputs_embeds=hidden, attention_mask=None, is_causal=True).last_hidden_state
        ends = (ids == self._eos).int().argmax(dim=1)
        pooled: Tensor = self._tower.final_layer_norm(hidden)[torch.arange(len(ids)), ends]
        projected: Tensor = self._project(pooled)
        return projected
