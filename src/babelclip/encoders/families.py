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
    "CLIPModel folders and hub ids (model_type clip): OpenAI's, and OpenCLIP's and MetaCLIP's in transformers format",
    "with weights in safetensors, a BPE, WordPiece or Unigram tokenizer of at most as many tokens as the table has "
    "rows, and a preprocessor_config.json",
    "pictoclip, which comes with babelclip",
)
"""What can be taught today."""
_BOTH_WAYS = (
    "its text tower attends both ways: babelclip computes equal beginnings of texts once and cuts padding off, which "
    "is right only where a token does not see what stands behind it"
)
_POOLS = "its text tower pools {}; babelclip pools at the first end-of-text token"


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
    """

    title: str
    causal: bool | None
    pooling: str
    pools_at: tuple[str, ...] = ()
    padded: bool = False
    offset: int = 0

    @property
    def first_end(self) -> bool:
        """Whether it pools where babelclip does."""
        return self.pools_at == ("eos",)


_LAST = "at the last of all places, which is padding for most texts; then a linear head"
KNOWN_FAMILIES = {
    "clip": Family("CLIP", True, "at the first end-of-text token", ("eos",)),
    "metaclip_2": Family("MetaCLIP 2", True, "at the first end-of-text token", ("eos",)),
    "siglip": Family("SigLIP", False, _LAST, ("pad",), padded=True),
    "siglip2": Family("SigLIP 2, any size of picture", False, _LAST, ("pad",), padded=True),
    "chinese_clip": Family("Chinese CLIP", False, "at the first token", ("cls",)),
    "altclip": Family("AltCLIP", False, "at the first token; then a linear layer", ("bos",), offset=2),
    "vision-text-dual-encoder": Family("any two towers", None, "as its text model does (pooler_output)"),
    OPEN_CLIP: Family("open_clip", None, "as open_clip's code does"),
}
_ENCODERS = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta",
    "xlm-roberta",
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
    if model_type == "vision-text-dual-encoder" and text_type in _ENCODERS:
        return replace(family, causal=False, offset=2 if "roberta" in text_type or text_type == "camembert" else 0)
    return family


def why_not(facts: ModelFacts) -> list[str]:
    """Return why a model cannot be taught, as far as its files tell; empty where nothing speaks against it."""
    from babelclip.encoders.load import FAMILIES

    family, found = family_of(facts.family, facts.text.kind), []
    if facts.family == OPEN_CLIP:
        found.append(
            "it is in open_clip's own format; the same weights in transformers format (config.json with model_type "
            "clip) can be taught where its towers are CLIP's own"
        )
    elif facts.family not in FAMILIES:
        found.append(f"babelclip has no loader for the family {facts.family} yet, only for {', '.join(FAMILIES)}")
        if family.causal is False:
            found.append(_BOTH_WAYS)
        if facts.family in KNOWN_FAMILIES and not family.first_end:
            found.append(_POOLS.format(family.pooling))
    found += _tokenizer_reasons(facts)
    if facts.family == "clip":
        found += [f"the weight {name} is missing" for name in _CLIP_WEIGHTS if name not in facts.weights]
    if facts.family in FAMILIES and not facts.prepares_pictures:
        found.append("there is no preprocessor_config.json, so pictures cannot be prepared")
    return found + facts.problems


_CLIP_WEIGHTS = (
    "text_model.embeddings.token_embedding.weight", "text_projection.weight", "visual_projection.weight",
)  # fmt: skip


def _tokenizer_reasons(facts: ModelFacts) -> list[str]:
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
    missing = [name for name in ("bos", "eos") if name not in one.specials]
    if missing:
        found.append(f"its tokenizer names no {' and no '.join(missing)} token")
    return found
