"""Texts through a frozen tower, in trimmed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding

if TYPE_CHECKING:
    from babelclip.encoders.base import DualEncoder, PlainTower, TextTower
    from babelclip.encoders.insert import Insert, Modules
    from babelclip.encoders.layout import Layout


def pad(sequences: Sequence[Sequence[int]], eos: int) -> Tensor:
    """Return (B, L) ids, cut at the longest of the batch and padded with ``eos``.

    What stands behind the first ``eos``, and how much of it, changes nothing. Texts of a tower that reads padding are
    all equally long (``Frame.wrap``), so that nothing is added to them here.
    """
    longest = max(map(len, sequences))
    return torch.tensor([[*ids, *[eos] * (longest - len(ids))] for ids in sequences])


def first_ends(ids: Tensor, eos: int | Tensor) -> Tensor:
    """Return (B,) the position of the first ``eos`` in each row of (B, L) ids; (B,) ``eos`` where texts have their own.

    Not the largest id, which is CLIP's own shortcut: ids of new tokens are larger than that of end-of-text.
    """
    return (ids == (eos[:, None] if isinstance(eos, Tensor) else eos)).int().argmax(dim=1)


def encode_batch(
    encoder: DualEncoder,
    table: Tensor,
    ids: Tensor,
    eos: int | Tensor,
    modules: Modules | None = None,
    languages: Sequence[str | None] = (),
    *,
    training: bool = False,
    plain: PlainTower | None = None,
) -> tuple[Tensor, list[Insert]]:
    """Return (B, dim) vectors of texts, with gradient to the table and to modules, and the modules' inserts.

    Args:
        encoder: the base model.
        table: (R, width) rows, on the encoder's device.
        ids: (B, L) places of the tokens' rows in the table, on the CPU; padded behind the first ``eos`` (``Frame``).
        eos: place of the end-of-text token's row; (B,) where texts have their own.
        modules: what may be put into the tower; None for nothing, and nothing is bit-identical to no modules.
        languages: (B,) tags of the texts, for modules.
        training: whether modules that choose by themselves at test time may use the language.
        plain: runs the batch in the place of the base model's tower where no text of it gets any module.
    """
    tower, ends = encoder.text_tower, first_ends(ids, eos)

    def run(layout: Layout, tower: TextTower, inserts: Sequence[Insert] = ()) -> Tensor:
        on_device = layout.to(encoder.device)
        return tower(embedding(on_device.ids, table), on_device, inserts)

    if modules is None or not modules.active(languages):
        if plain is not None:
            layout = tower.lay_out(ids, ends, bands=1)
            return plain(embedding(layout.ids.to(encoder.device), table), layout), []
        return run(tower.lay_out(ids, ends), tower), []
    queries = None
    if modules.wants_queries():
        with torch.no_grad():
            queries = run(tower.lay_out(ids, ends), tower)
    choice = modules.choose(languages, queries, training=training)
    layout = tower.lay_out(ids, ends, choice.groups)
    inserts = choice.inserts(layout.to(encoder.device))
    return run(layout, tower if choice.weights is None else tower.with_weights(choice.weights), inserts), inserts


@torch.inference_mode()
def encode_tokens(
    encoder: DualEncoder,
    table: Tensor,
    sequences: Sequence[Sequence[int]],
    modules: Modules | None = None,
    language: str | Sequence[str | None] | None = None,
    *,
    eos: int | Tensor | None = None,
    batch_size: int = 256,
    training: bool = False,
    plain: PlainTower | None = None,
) -> Tensor:
    """Encode token ids with a frozen tower and any table of rows.

    Batches are formed by length, so that little is padded; the order of the result is that of the input.

    Args:
        encoder: the base model.
        table: (V, width) rows; the base model's own table gives its own English vectors.
        sequences: ids of texts as ``Frame.wrap`` makes them.
        modules: what may be put into the tower.
        language: the language of all texts, or of each, for modules that need it.
        eos: id of the token that ends a text; by default the base model's; (N,) where texts have their own.
        batch_size: texts at a time.
        training: whether modules that choose by themselves at test time may use the language.
        plain: runs texts that get no module, in batches of their own, in the place of the base model's tower.

    Returns:
        (N, dim) float32 on the CPU, not normalised.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    vectors = torch.empty(len(sequences), encoder.dim)
    table = table.to(encoder.device)
    eos = encoder.frame.eos if eos is None else eos
    languages = [language] * len(order) if language is None or isinstance(language, str) else language
    by_tag = {tag: plain is not None and modules is not None and modules.active([tag]) for tag in set(languages)}
    groups = [[i for i in order if by_tag[languages[i]] is apart] for apart in (False, True)]
    for chosen in (group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)):
        own, filler = (eos[chosen], encoder.frame.eos) if isinstance(eos, Tensor) else (eos, eos)
        ids = pad([sequences[i] for i in chosen], filler)
        tags = [languages[i] for i in chosen]
        found, _ = encode_batch(encoder, table, ids, own, modules, tags, training=training, plain=plain)
        vectors[chosen] = found.float().cpu()
    return vectors
