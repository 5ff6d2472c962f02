"""What is known of the families of dual encoders, and why a model can or cannot be taught.

A family is the ``model_type`` of a config.json; how it attends and pools is fixed by its code in ``transformers``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babelclip.encoders.facts import ModelFacts

OPEN_CLIP = "open_clip"
TEACHABLE = (
    "CLIPModel (model_type clip: OpenAI's, and OpenCLIP's and MetaCLIP's in transformers format) and MetaCLIP 2",
    "SigLIP and SigLIP 2; Chinese CLIP, AltCLIP, and VisionTextDualEncoderModel with a BERT, RoBERTa or XLM-R as text "
    "tower",
    "folders in open_clip's own format (open_clip_config.json, open_clip_model.safetensors) with CLIP's own towers",
    "all with weights in safetensors, a preprocessor_config.json, and a tokenizer.json: BPE, WordPiece or Unigram, of "
    "at most as many tokens as the table has rows",
    "pictoclip, which comes with babelclip",
)
"""What can be taught today."""


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        title: what users call it.
        causal: whether a token of a text sees only what stands before it; None where that is not known.
        pooling: how the text tower makes one vector of a text; names of special tokens stand for their ids.
        pools_at: the special tokens that the rule speaks of.
        padded: texts are always padded to the whole context.
        offset: positions that the text tower has but no text can use.
        start, end: how the tokenizer may name the token that starts a text, and the one that ends it; the first name
            that there is counts. No ``start``: texts need none.
    """

    title: str
    causal: bool | None
    pooling: str
    pools_at: tuple[str, ...] = ()
    padded: bool = False
    offset: int = 0
    start: tuple[str, ...] = ("bos", "cls")
    end: tuple[str, ...] = ("eos", "sep")


_LAST = "at the last of all places, which is padding for most texts; then a linear head"
KNOWN_FAMILIES = {
    "clip": Family("CLIP", True, "at the first end-of-text token", ("eos",), start=("bos",), end=("eos",)),
    "metaclip_2": Family("MetaCLIP 2", True, "at the first end-of-text token", ("eos",)),
    "siglip": Family("SigLIP", False, _LAST, ("pad",), padded=True, start=()),
    "siglip2": Family("SigLIP 2, any size of picture", False, _LAST, ("pad",), padded=True, start=()),
    "chinese_clip": Family("Chinese CLIP", False, "at the first token", ("cls",)),
    "altclip": Family("AltCLIP", False, "at the first token; then a linear layer", ("bos",), offset=2),
    "vision-text-dual-encoder": Family("any two towers", None, "as its text model does (pooler_output)"),
    OPEN_CLIP: Family(
        "open_clip's own format", None, "at the first end-of-text token, where its towers are CLIP's own"
    ),
}
ENCODERS = ("bert", "camembert", "roberta", "xlm-roberta")
"""Text towers that babelclip can run where a family leaves them open."""
_BOTH_WAYS = (
    *ENCODERS, "albert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet",
)  # fmt: skip
"""Text towers that attend both ways."""
_UNKNOWN = Family("not known to babelclip", None, "as the family's code does")


def family_of(model_type: str, text_type: str | None = None) -> Family:
    """Return what is known of a family; of one that is not, that it is not.

    Args:
        model_type: of the whole.
        text_type: of the text tower, where the family leaves it open.
    """
    family = KNOWN_FAMILIES.get(model_type, _UNKNOWN)
    if model_type == "vision-text-dual-encoder" and text_type in _BOTH_WAYS:
        return replace(family, causal=False, offset=2 if "roberta" in text_type or text_type == "camembert" else 0)
    return family


def unknown_text_tower(kind: str) -> str:
    """Say why a text tower cannot be run."""
    return f"its text tower is a {kind or 'model of a kind that is not said'}; babelclip runs {', '.join(ENCODERS)}"


def why_not(facts: ModelFacts) -> list[str]:
    """Return why a model cannot be taught, as far as its files tell; empty where nothing speaks against it."""
    from babelclip.encoders.load import FAMILIES

    family, found = family_of(facts.family, facts.text.kind), []
    if facts.family not in FAMILIES:
        found.append(f"babelclip has no loader for the family {facts.family} yet, only for {', '.join(FAMILIES)}")
    elif facts.family == "vision-text-dual-encoder" and facts.text.kind not in ENCODERS:
        found.append(unknown_text_tower(facts.text.kind))
    found += facts.unmapped
    found += _tokenizer_reasons(facts, family)
    weights = {name.removeprefix("text.") if facts.family == OPEN_CLIP else name for name in facts.weights}
    if not facts.unmapped:
        found += [f"the weight {name} is missing" for name in _WEIGHTS.get(facts.family, ()) if name not in weights]
    if facts.family in FAMILIES and not facts.prepares_pictures:
        found.append("there is no preprocessor_config.json, so pictures cannot be prepared")
    return found + facts.problems


_BERT = "text_model.embeddings.word_embeddings.weight"
_CLIP = (
    "text_model.embeddings.token_embedding.weight", "text_projection.weight", "visual_projection.weight",
)  # fmt: skip
_SIGLIP = ("text_model.embeddings.token_embedding.weight", "text_model.head.weight", "logit_bias")
_WEIGHTS = {
    "clip": _CLIP, "metaclip_2": _CLIP, "siglip": _SIGLIP, "siglip2": _SIGLIP, "chinese_clip": (_BERT, *_CLIP[1:]),
    "altclip": ("text_model.roberta.embeddings.word_embeddings.weight", *_CLIP[1:]),
    "vision-text-dual-encoder": (_BERT, "text_model.pooler.dense.weight", *_CLIP[1:]),
    OPEN_CLIP: ("token_embedding.weight", "text_projection", "visual.conv1.weight", "visual.proj"),
}  # fmt: skip
"""Weights that a model of a family must have, a few of them."""


def _tokenizer_reasons(facts: ModelFacts, family: Family) -> list[str]:
    """What is wrong with the tokenizer for a lexicon that grows."""
    one = facts.tokenizer
    if one is None:
        return [facts.no_tokenizer]
    found = []
    if one.kind not in ("BPE", "WordPiece", "Unigram"):
        found.append(f"its tokenizer is {one.kind}; lexicons grow by the pieces of a BPE, WordPiece or Unigram")
    elif one.kind == "BPE" and one.byte_level and one.missing_bytes:
        found.append(f"its tokenizer has no token for {one.missing_bytes} of the 256 bytes, inside or behind a word")
    elif not (one.byte_level or one.byte_fallback) and one.specials.get("unk", -1) == one.specials.get("eos"):
        found.append("its tokenizer writes the end-of-text token for unknown text")
    if one.last_id != one.tokens - 1:
        found.append(f"its tokenizer has {one.tokens:,} tokens but ids up to {one.last_id:,}: ids have gaps")
    if facts.rows is not None and facts.rows < one.tokens:
        found.append(f"the tokenizer has {one.tokens:,} tokens but the token table has {facts.rows:,} rows")
    if facts.family == OPEN_CLIP and not one.specials:
        return found  # its tokenizer.json alone says what stands around a text
    wanted = [names for names in (family.start, family.end, ("pad",) if family.padded else ()) if names]
    missing = [names[0] for names in wanted if not set(names) & set(one.specials)]
    if missing:
        found.append(f"its tokenizer names no {' and no '.join(missing)} token")
    return found
