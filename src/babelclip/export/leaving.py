"""What leaves babelclip in one folder: one vocabulary with its rows, and nothing that only babelclip can run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, processors
from torch import Tensor, nn

from babelclip.acquirers.lora import LowRank
from babelclip.encoders.clip import ClipEncoder
from babelclip.encoders.encoder import FrozenEncoder
from babelclip.errors import NOT_INSTALLED, ModelError, SettingError, UnknownNameError
from babelclip.languages import NATIVE, normalise_tag
from babelclip.lexicon import Lexicon, MultilingualLexicon
from babelclip.lexicon.plain import take_out

if TYPE_CHECKING:
    from babelclip.acquirers import Learnt
    from babelclip.continual import Student
    from babelclip.encoders import DualEncoder
    from babelclip.encoders.frame import Frame
    from babelclip.encoders.insert import Part
    from babelclip.packs import Polyglot
    from babelclip.packs.card import PackCard

LEGACY_END = 2
"""An end-of-text id that a ``CLIPModel`` takes for a mistake of old configs; it then pools at the largest id."""
PARTS: dict[Part, int] = {"query": 0, "value": 2}
"""Place of the projections that can change among those of ``attention_in``."""


@dataclass(frozen=True)
class Leaving:
    """The content of one exported folder.

    Attributes:
        languages: that its texts may be in.
        tokenizer: cuts them; puts start and end around them, and cuts them at the tower's limit.
        table: (V, width) float32 row of each of its ids.
        frame: what the text tower wants around the pieces of a text.
        pad: id that fills texts up.
        lora: what goes into the weights of the text tower, with the language whose it is; None for nothing.
        cards: what the packs say of themselves.
        shared: whether its languages share, and overwrite, one vocabulary.
    """

    languages: list[str]
    tokenizer: Tokenizer
    table: Tensor
    frame: Frame
    pad: int
    lora: tuple[LowRank, str] | None = None
    cards: list[PackCard] = field(default_factory=list)
    shared: bool = False

    def token(self, number: int) -> str:
        """Return a token by its id."""
        return str(self.tokenizer.id_to_token(number))

    def model(self, encoder: DualEncoder) -> Any:
        """Return the base model as ``transformers`` has it with these rows, on the CPU.

        Raises:
            ModelError: no other tool can load it, or the end of its texts cannot be told to ``transformers``.
        """
        family = check_family(encoder)
        model: Any = family.load_whole().cpu().requires_grad_(False)
        text, config = family.text_model(model), model.config.text_config
        start = getattr(text.embeddings, "padding_idx", None)  # RoBERTa counts positions from behind it
        text.set_input_embeddings(nn.Embedding.from_pretrained(self.table.cpu().clone(), padding_idx=start))
        text.config.vocab_size = config.vocab_size = len(self.table)
        if isinstance(family, ClipEncoder):
            if self.frame.eos == LEGACY_END:
                raise ModelError(
                    f"the end-of-text id of {encoder.name!r} is {LEGACY_END}, which transformers does not pool at",
                    fix="Use the base model through babelclip.",
                )
            text.eos_token_id = self.frame.eos
            config.bos_token_id, config.eos_token_id, config.pad_token_id = self.frame.bos, self.frame.eos, self.pad
        if self.lora is not None:
            kind, language = self.lora
            blocks = family.blocks(model)
            for (layer, part), change in kind.change(language).items():
                blocks[layer]["attention_in"][PARTS[part]].weight += change.cpu()
        return model

    def tokenizer_file(self, *, ready: bool = False) -> str:
        """Return ``tokenizer.json``.

        Args:
            ready: with truncation and padding, for those who use it without ``transformers``.
        """
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        if ready:
            tokenizer.enable_truncation(self.frame.max_length)
            tokenizer.enable_padding(
                pad_id=self.pad, pad_token=self.token(self.pad), direction="left" if self.frame.left else "right",
                length=None if self.frame.padding is None else self.frame.max_length,
            )  # fmt: skip
        content: str = tokenizer.to_str(pretty=True)
        return content

    def tokenizer_config(self) -> str:
        """Return ``tokenizer_config.json``: the file is used as it is, whatever a model's own class would make of it.

        Text that looks like a special token is cut like any other.
        """
        end, start = self.token(self.frame.eos), self.frame.bos
        masked = [] if self.frame.padding is not None else ["attention_mask"]  # who reads padding has no mask
        return _json(
            {
                "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": self.frame.max_length,
                **({} if start is None else {"bos_token": self.token(start)}),
                "eos_token": end, "pad_token": self.token(self.pad), "unk_token": _unknown(self.tokenizer) or end,
                **({} if self.frame.padding is None else {"padding_side": "left" if self.frame.left else "right"}),
                "split_special_tokens": True, "clean_up_tokenization_spaces": False,
                "model_input_names": ["input_ids", *masked],
            }
        )  # fmt: skip


def _unknown(tokenizer: Tokenizer) -> str | None:
    """What a tokenizer writes for what it has no token for."""
    model = take_out(tokenizer)["model"]
    number: int | None = model.get("unk_id")
    found: str | None = model.get("unk_token") if number is None else tokenizer.id_to_token(number)
    return found


def check_family(encoder: DualEncoder) -> FrozenEncoder:
    """Return a base model that other tools can load.

    Raises:
        ModelError: it is none of ``transformers``.
    """
    if not isinstance(encoder, FrozenEncoder):
        raise ModelError(
            f"{encoder.name!r} is no model of transformers, and no other can leave",
            fix="Use the model through babelclip (Python, search, serve).",
        )
    return encoder


def check_clip(encoder: DualEncoder, tool: str, *kinds: type[FrozenEncoder]) -> None:
    """Refuse a base model for tools that know CLIP alone.

    Args:
        encoder: the base model.
        tool: for messages.
        kinds: what the tool knows beside ``CLIPModel``.

    Raises:
        ModelError: it is none of these.
    """
    if not isinstance(encoder, (ClipEncoder, *kinds)):
        kind = getattr(encoder, "architecture", "model of another kind")
        raise ModelError(
            f"{encoder.name!r} is of class {kind}, and {tool} has a place for the two towers of CLIP alone",
            fix="Take --to transformers, or use the model through babelclip (Python, search, serve).",
        )


def leave_packs(polyglot: Polyglot, languages: Sequence[str] | None = None) -> dict[str, Leaving]:
    """Return what leaves of a base model with packs: each language for itself.

    Args:
        polyglot: the base model and its packs.
        languages: tags; by default all, English too.

    Raises:
        UnknownNameError: a language is not installed.
        SettingError: a language has modules that no other tool can run.
    """
    found = {}
    for tag in pick_tags(languages, polyglot.languages, "installed language", NOT_INSTALLED):
        if tag == NATIVE:
            found[tag] = _leaving(polyglot.encoder, [tag], polyglot.base, None, None)
            continue
        pack = polyglot.packs[tag]
        learnt = pack.learnt(polyglot.base)
        lora = _lora(learnt, [tag])
        found[tag] = _leaving(polyglot.encoder, [tag], learnt.lexicon, tag, lora, cards=[pack.card])
    return found


def leave_shared(student: Student, languages: Sequence[str] | None = None) -> Leaving:
    """Return what leaves of a shared lexicon: one vocabulary for its languages.

    Args:
        student: with what it has learnt.
        languages: tags that are wanted: the vocabulary is that of the last one learnt among them, so that a single
            language is cut as it was learnt; by default all, and the newest vocabulary.

    Raises:
        UnknownNameError: a language has not been learnt.
        SettingError: the words are those of a multilingual language model, or a language has modules that no other tool
            can run.
    """
    lexicon = student.lexicon
    if isinstance(lexicon, MultilingualLexicon):
        raise SettingError(
            f"the languages {', '.join(lexicon.languages) or '(none)'} have the words of a multilingual language "
            "model, projected to the tower's width, for which no other tool has a place",
            fix="Learn without --lexicon, or use them through babelclip.",
        )
    known = lexicon.languages or [NATIVE]
    tags = pick_tags(languages, known, "learnt language")
    lora = _lora(student.learnt, tags)
    if not lexicon.languages:
        return _leaving(student.encoder, tags, lexicon, None, None)
    last = max(tags, key=lambda tag: (lexicon.snapshots[tag].num_tokens, known.index(tag)))
    return _leaving(student.encoder, tags, lexicon, last, lora, shared=True)


def pick_tags(asked: Sequence[str] | None, known: Sequence[str], kind: str, more: str = "") -> list[str]:
    """Return the tags that are wanted, each once.

    Args:
        asked: as they were given; None for all.
        known: those that there are.
        kind: what they are, for messages.
        more: the way out where one is not among them.

    Raises:
        UnknownNameError: there is no such language.
        SettingError: none is wanted.
    """
    tags = list(dict.fromkeys(map(normalise_tag, known if asked is None else asked)))
    for tag in tags:
        if tag not in known:
            raise UnknownNameError(kind, tag, known, likely=(), more=more)
    if not tags:
        raise SettingError("no language is to be exported", fix=f"Give some of {', '.join(known)}.")
    return tags


def _lora(learnt: Learnt, tags: Sequence[str]) -> tuple[LowRank, str] | None:
    """The one kind of modules that can become part of the weights, if a single language has it; refuse all others."""
    found = None
    for name, kind in learnt.acquirers.kinds.items():
        for tag in filter(kind.active, tags):
            if not isinstance(kind, LowRank):
                raise SettingError(
                    f"{tag!r} has modules of {name} in its text tower, which other tools cannot run",
                    fix="Leave it out with --languages, learn it with a method without modules (such as cll) or with "
                    "lora, or use it through babelclip (serve, Polyglot).",
                )
            if len(tags) > 1:
                raise SettingError(
                    f"{tag!r} has modules of {name}, which go into the weights of a folder of its own, but "
                    f"{', '.join(tags)} are to share one",
                    fix=f"Export it alone: --languages {tag}.",
                )
            found = (kind, tag)
    return found


def _leaving(
    encoder: DualEncoder, tags: list[str], lexicon: Lexicon, snapshot: str | None, lora: tuple[LowRank, str] | None, *,
    cards: list[PackCard] | None = None, shared: bool = False,
) -> Leaving:  # fmt: skip
    """Put tokenizer and rows together."""
    tokenizer = Tokenizer.from_str(lexicon.tokenizer(snapshot).to_str())
    size = len(lexicon.table) if snapshot is None else lexicon.snapshots[snapshot].num_tokens
    frame, tokens, family = lexicon.frame, lexicon.vocabulary.tokens, check_family(encoder)
    end = tokens[frame.eos]
    if frame.bos is None:
        tokenizer.post_processor = processors.TemplateProcessing(single=["$A", end], special_tokens=[(end, frame.eos)])
    else:
        tokenizer.post_processor = processors.RobertaProcessing(
            (end, frame.eos), (tokens[frame.bos], frame.bos), trim_offsets=False, add_prefix_space=False
        )
    pad = frame.eos if isinstance(family, ClipEncoder) else family.padding
    table = torch.as_tensor(lexicon.table[:size])
    return Leaving(tags, tokenizer, table, frame, pad, lora, cards or [], shared)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
