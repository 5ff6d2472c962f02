"""What a tokenizer is, read from its tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers

from babelclip.errors import ModelError

FILE = "tokenizer.json"
OLDER = ("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
SPECIALS = ("bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token")


@dataclass(frozen=True)
class TokenizerFacts:
    """A tokenizer as its file says.

    Attributes:
        kind: BPE, WordPiece, Unigram or WordLevel.
        tokens: size of the vocabulary, special tokens included.
        last_id: the highest id.
        merges: number of merges; 0 for other kinds than BPE.
        byte_level: text is cut as bytes, as GPT-2 and CLIP do.
        byte_fallback: characters that it does not know are cut into bytes, as Llama and Gemma do.
        missing_bytes: of the 256 bytes, how many no token can write; 256 where it is not byte level.
        lower_case: text is lower-cased.
        specials: ``bos``, ``eos``, ``pad``, ``unk``, ``cls``, ``sep`` -> id, where it has such a token.
        longest: limit that it names itself, in tokens; None for none.
        made_from: the older files that it was read from; empty for tokenizer.json.
    """

    kind: str
    tokens: int
    last_id: int
    merges: int
    byte_level: bool
    byte_fallback: bool
    missing_bytes: int
    lower_case: bool
    specials: dict[str, int] = field(default_factory=dict)
    longest: int | None = None
    made_from: tuple[str, ...] = ()


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer, in today's format or in an older one."""
    return any((folder / name).is_file() for name in (FILE, *OLDER))


def open_tokenizer(folder: Path) -> Tokenizer:
    """Return a folder's tokenizer without truncation and padding; older formats are converted by ``transformers``.

    Raises:
        ModelError: there is none, or it is damaged or of a kind that cannot be converted.
    """
    file = folder / FILE
    if not has_tokenizer(folder):
        raise ModelError(f"there is no {FILE}", file=folder, fix=f"Put the model's {FILE} beside its weights.")
    try:
        if file.is_file():
            tokenizer = Tokenizer.from_file(str(file))
        else:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False).backend_tokenizer
    except Exception as error:  # the library raises bare Exception for a damaged file
        raise ModelError(
            f"the tokenizer cannot be read ({' '.join(str(error).split())[:200]})",
            file=file if file.is_file() else folder, fix=f"Give the model's whole {FILE}.",
        ) from error  # fmt: skip
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """Read what a folder's tokenizer is.

    Raises:
        ModelError: there is none, or it is damaged or of a kind that cannot be converted.
    """
    tokenizer = open_tokenizer(folder)
    content = json.loads(tokenizer.to_str())
    model, ids = content["model"], tokenizer.get_vocab(with_added_tokens=True)
    parts = {part["type"] for part in _parts([content["normalizer"], content["pre_tokenizer"], content["decoder"]])}
    lower = "Lowercase" in parts or any(part.get("lowercase") for part in _parts(content["normalizer"]))
    byte_level = "ByteLevel" in parts
    settings = _settings(folder)
    longest = settings.get("model_max_length")
    older = () if (folder / FILE).is_file() else tuple(name for name in OLDER if (folder / name).is_file())
    return TokenizerFacts(
        kind=model["type"], tokens=len(ids), last_id=max(ids.values(), default=-1), merges=len(model.get("merges", ())),
        byte_level=byte_level, byte_fallback=bool(model.get("byte_fallback")),
        missing_bytes=_missing_bytes(ids, model.get("end_of_word_suffix") or "") if byte_level else 256,
        lower_case=lower, specials=_specials(settings, ids), made_from=older,
        longest=longest if isinstance(longest, int) and longest < 10**9 else None,
    )  # fmt: skip


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """All parts of a normaliser, a pre-tokenizer or a decoder, those in sequences too."""
    if isinstance(node, dict):
        if "type" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _parts(one)


def _missing_bytes(ids: dict[str, int], suffix: str) -> int:
    """Bytes without a token, inside a word or at its end."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    return sum(letter not in ids or letter + suffix not in ids for letter in letters)


def _settings(folder: Path) -> dict[str, Any]:
    """What stands beside the tokenizer: names of its special tokens, and its limit."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            try:
                found |= dict(json.loads((folder / name).read_bytes()))
            except (ValueError, TypeError) as error:
                raise ModelError(f"not JSON ({error})", file=folder / name, fix="Get the file again.") from error
    return found


def _specials(settings: dict[str, Any], ids: dict[str, int]) -> dict[str, int]:
    found = {}
    for name in SPECIALS:
        token = settings.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str) and text in ids:
            found[name.removesuffix("_token")] = ids[text]
    return found
