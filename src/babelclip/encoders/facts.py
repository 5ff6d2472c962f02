"""What a model is, read from config.json, tokenizer.json and the headers of its weights; no weight is loaded.

Sizes that stand in the weights' shapes (rows, widths, layers, shared space) are compared with those of the config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from babelclip.encoders.families import OPEN_CLIP, family_of
from babelclip.encoders.headers import Weight
from babelclip.encoders.model_config import Config, Part
from babelclip.encoders.tokenizer_facts import TokenizerFacts, read_tokenizer
from babelclip.errors import ModelError

TEXT = (
    "text_model.",
    "text_projection",
    "transformer.",
    "token_embedding.",
    "positional_embedding",
    "ln_final.",
    "text.",
)
IMAGE = ("vision_model.", "visual_projection", "visual.", "embeddings.vision")
PREPARATION = ("preprocessor_config.json", "processor_config.json")
_TABLES = ("token_embedding.weight", "word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight")


@dataclass(frozen=True)
class TowerFacts:
    """One tower.

    Attributes:
        kind: its own model_type in the config.
        layers, width, heads, inner: blocks, width, attention heads, width inside an MLP; None where it has no such.
        activation: of the MLPs, as ``transformers`` names it; empty where the config does not say.
        parameters: number of weights, projection to the shared space included.
        bytes: the same on disk.
    """

    kind: str
    layers: int | None
    width: int | None
    heads: int | None
    inner: int | None
    activation: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class ModelFacts:
    """A dual encoder as its files say.

    Attributes:
        name: as it was asked for.
        family: ``model_type`` of the config, or ``open_clip``.
        architecture: the class that wrote it; empty where the config does not say.
        text, image: the towers.
        other: parameters of neither, such as the temperature.
        image_size: side in pixels; None where pictures of any size are taken, or the config does not say.
        patch: side of a patch in pixels.
        patches: of a picture, at most; None where the config does not say.
        dim: size of the shared space.
        context: longest text in tokens, special tokens included.
        rows: of the token table.
        pooling: how one vector of a text is made, and the ids that this speaks of.
        pooling_ids: name of a special token -> id.
        tokenizer: what it is; None where there is none that can be read.
        no_tokenizer: why not; empty where there is one.
        prepares_pictures: whether the model says how pictures are prepared.
        dtypes: type on disk -> parameters.
        bytes: of all weights on disk.
        problems: contradictions between the files.
        unmapped: of a folder of open_clip, what in it is no CLIP of transformers.
        weights: all weights by name.
    """

    name: str
    family: str
    architecture: str
    text: TowerFacts
    image: TowerFacts
    other: int
    image_size: int | None
    patch: int | None
    patches: int | None
    dim: int | None
    context: int | None
    rows: int | None
    pooling: str
    pooling_ids: dict[str, int]
    tokenizer: TokenizerFacts | None
    no_tokenizer: str
    prepares_pictures: bool
    dtypes: dict[str, int]
    bytes: int
    problems: list[str]
    unmapped: tuple[str, ...]
    weights: Mapping[str, Weight] = field(repr=False)

    @property
    def parameters(self) -> int:
        """Of both towers and what stands beside them."""
        return self.text.parameters + self.image.parameters + self.other


def read_facts(folder: Path, weights: Mapping[str, Weight], *, name: str) -> ModelFacts:
    """Read what a model is.

    Args:
        folder: its files; the weights themselves need not be there.
        weights: their header.
        name: how messages call it.

    Raises:
        ModelError: it is no dual encoder, its config is damaged, or it is code of its own.
    """
    config = Config.read(folder, name)
    weights = {key: one for key, one in weights.items() if not key.endswith("position_ids")}  # counted, never learnt
    family, text, image = family_of(config.family, config.text("model_type")), config.text, config.image
    tokenizer, no_tokenizer = _tokenizer(folder)
    sides, table = _sides(weights), _table(weights)
    positions = text("max_position_embeddings", "context_length")
    size, patch = _square(image("image_size")), _square(image("patch_size"))
    patches = image("num_patches") or ((size // patch) ** 2 if size and patch else None)
    dtypes: dict[str, int] = {}
    for one in weights.values():
        dtypes[one.dtype] = dtypes.get(one.dtype, 0) + one.size
    facts = ModelFacts(
        name=name, family=config.family, architecture=config.architecture,
        text=_tower(text, sides["text"]), image=_tower(image, sides["image"]),
        other=sum(one.size for one in sides["other"].values()), image_size=None if image("num_patches") else size,
        patch=patch, patches=patches, dim=config.dim, rows=None if table is None else table.shape[0],
        context=positions - family.offset if isinstance(positions, int) else None,
        pooling=family.pooling, pooling_ids=_ids(family.pools_at, tokenizer, text),
        tokenizer=tokenizer, no_tokenizer=no_tokenizer,
        prepares_pictures=config.family == OPEN_CLIP or any((folder / file).is_file() for file in PREPARATION),
        dtypes=dtypes, bytes=sum(one.bytes for one in weights.values()), problems=[],
        unmapped=config.unmapped, weights=weights,
    )  # fmt: skip
    facts.problems.extend(_contradictions(facts, sides, table, text("vocab_size")))
    return facts


def _tokenizer(folder: Path) -> tuple[TokenizerFacts | None, str]:
    """A folder's tokenizer, or why there is none."""
    try:
        return read_tokenizer(folder), ""
    except ModelError as error:
        return None, error.what


def _square(side: Any) -> int | None:
    """A side in pixels; of oblong ones the larger."""
    if isinstance(side, (list, tuple)):
        return max(map(int, side), default=None)
    return side if isinstance(side, int) else None


def _sides(weights: Mapping[str, Weight]) -> dict[str, dict[str, Weight]]:
    """Which tower each weight belongs to, by the beginning of its name."""
    sides: dict[str, dict[str, Weight]] = {"text": {}, "image": {}, "other": {}}
    for name, one in weights.items():
        sides["image" if name.startswith(IMAGE) else "text" if name.startswith(TEXT) else "other"][name] = one
    return sides


def _table(weights: Mapping[str, Weight]) -> Weight | None:
    """The text tower's table of token rows."""
    return next((one for name, one in weights.items() if name.endswith(_TABLES) and not name.startswith(IMAGE)), None)


def _tower(config: Part, weights: Mapping[str, Weight]) -> TowerFacts:
    def number(*names: str) -> int | None:
        value = config(*names)
        return value if isinstance(value, int) else None

    return TowerFacts(
        kind=str(config("model_type", "hf_model_name") or ""), layers=number("num_hidden_layers", "n_layers", "layers"),
        width=number("hidden_size", "dim", "width"), heads=number("num_attention_heads", "n_heads", "heads"),
        inner=number("intermediate_size", "hidden_dim"), activation=str(config("hidden_act", "activation") or ""),
        parameters=sum(one.size for one in weights.values()), bytes=sum(one.bytes for one in weights.values()),
    )  # fmt: skip


def _ids(names: tuple[str, ...], tokenizer: TokenizerFacts | None, text: Part) -> dict[str, int]:
    """The ids of special tokens: the tokenizer's, else the config's."""
    found = {}
    for name in names:
        given = (tokenizer.specials if tokenizer else {}).get(name, text(f"{name}_token_id"))
        if isinstance(given, int):
            found[name] = given
    return found


def _contradictions(
    facts: ModelFacts, sides: Mapping[str, Mapping[str, Weight]], table: Weight | None, rows: int | None
) -> list[str]:
    """Where config and weights do not agree."""
    found = []
    if table is not None and (rows, facts.text.width) != table.shape and facts.family != OPEN_CLIP:
        found.append(
            f"the config says {rows} tokens of width {facts.text.width}, the token table has {table.shape[0]} of width "
            f"{table.shape[-1]}"
        )
    for side, tower in (("text", facts.text), ("image", facts.image)):
        numbers = {int(match[1]) for name in sides[side] if (match := re.search(r"\.layers?\.(\d+)\.", name))}
        if numbers and tower.layers is not None and len(numbers) != tower.layers:
            found.append(f"the config says {tower.layers} {side} layers, the weights have {len(numbers)}")
    return found
