"""A lexicon on disk: what was added to, and changed in, the base model's own. Plain JSON and safetensors.

lexicon.json       format, base model, languages with their snapshots, appended tokens and merges, sha256 of the rows
                   and of other files that belong to them
rows.safetensors   ids (R,), rows (R, width) float32: every row that differs from the base model's; uses (V,)
tokenizer.json     of a multilingual lexicon, whose rows all differ
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from babelclip.errors import FormatError
from babelclip.files import sha256, write_whole
from babelclip.lexicon.bpe import Vocabulary
from babelclip.lexicon.lexicon import Lexicon, Snapshot
from babelclip.lexicon.multilingual import MultilingualLexicon

FORMAT = 1
LEXICON, ROWS, TOKENIZER = "lexicon.json", "rows.safetensors", "tokenizer.json"


class _Languages(BaseModel):
    model_config = ConfigDict(extra="forbid")
    num_tokens: int
    num_merges: int


class _Multilingual(BaseModel):
    """Ids of the tokens that start and end a text; the tokenizer lies in ``tokenizer.json``."""

    model_config = ConfigDict(extra="forbid")
    bos: int
    eos: int


class LexiconFile(BaseModel):
    """The content of ``lexicon.json``."""

    model_config = ConfigDict(extra="forbid")

    format: int
    base: str
    base_fingerprint: str
    languages: dict[str, _Languages]
    tokens: list[str]
    merges: list[tuple[str, str]]
    rows_sha256: str
    beside: dict[str, str] = {}
    multilingual: _Multilingual | None = None


def pack_lexicon(
    lexicon: Lexicon, base: Lexicon, *, base_name: str, fingerprint: str, beside: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """Return the files of a lexicon, as its difference from the base model's, in the order in which to write them.

    ``lexicon.json`` comes last and carries the sha256 of all others: a folder that was interrupted half way is either
    the old one or is refused by ``load_lexicon``, never mixed in silence.

    Args:
        lexicon: the lexicon.
        base: that of the base model.
        base_name: how the base model is called.
        fingerprint: of the base model.
        beside: other files that belong to the lexicon, by name.
    """
    beside, own = dict(beside or {}), not isinstance(lexicon, MultilingualLexicon)
    changed = torch.ones(len(lexicon.table), dtype=torch.bool)
    if own:
        changed[: len(base.table)] = (lexicon.table[: len(base.table)] != base.table).any(dim=1)
    else:
        beside[TOKENIZER] = lexicon.base_tokenizer.to_str().encode()
    ids = changed.nonzero().squeeze(1)
    rows = save({"ids": ids, "rows": lexicon.table[ids].contiguous(), "uses": lexicon.uses})
    content = LexiconFile(
        format=FORMAT,
        base=base_name,
        base_fingerprint=fingerprint,
        languages={
            tag: _Languages(num_tokens=size.num_tokens, num_merges=size.num_merges)
            for tag, size in lexicon.snapshots.items()
        },
        tokens=list(lexicon.vocabulary.tokens[len(base.vocabulary.tokens) :]) if own else [],
        merges=list(lexicon.vocabulary.merges[len(base.vocabulary.merges) :]) if own else [],
        rows_sha256=hashlib.sha256(rows).hexdigest(),
        beside={name: hashlib.sha256(one).hexdigest() for name, one in beside.items()},
        multilingual=None if own else _Multilingual(bos=lexicon.bos, eos=lexicon.eos),
    )
    listed = json.dumps(content.model_dump(), ensure_ascii=False, indent=0) + "\n"
    return {**beside, ROWS: rows, LEXICON: listed.encode()}


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write what ``pack_lexicon`` returned, in its order."""
    for name, content in files.items():
        write_whole(folder / name, content)


def read_lexicon_file(folder: Path) -> LexiconFile:
    """Read ``lexicon.json`` of a folder of what was learnt.

    Raises:
        FormatError: it is missing, damaged or of another format.
    """
    file = folder / LEXICON
    try:
        content = LexiconFile.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise FormatError(
            f"no {LEXICON} in this folder", file=folder, fix="Give a folder written by `babelclip learn`."
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise FormatError(
            f"{place} {problem['msg']}", file=file, fix="The file is damaged: learn the languages again."
        ) from error
    if content.format != FORMAT:
        raise FormatError(
            f"format {content.format}, this babelclip reads {FORMAT}", file=file, fix="Use a matching babelclip."
        )
    return content


def load_lexicon(folder: Path, base: Lexicon, *, fingerprint: str) -> Lexicon:
    """Read a lexicon onto its base model's.

    Raises:
        FormatError: a file is missing or damaged, or it was learnt on another base model.
    """
    content = read_lexicon_file(folder)
    if content.base_fingerprint != fingerprint:
        raise FormatError(
            f"learnt on {content.base!r} with fingerprint {content.base_fingerprint[:12]}, but the base model given "
            f"has {fingerprint[:12]}",
            file=folder / LEXICON, fix="Give the base model that it was learnt on.",
        )  # fmt: skip
    rows = folder / ROWS
    try:
        for name, expected in {**content.beside, ROWS: content.rows_sha256}.items():
            rows = folder / name
            if (found := sha256(rows)) != expected:
                raise FormatError(
                    f"sha256 is {found[:12]}, but {LEXICON} says {expected[:12]}",
                    file=rows, fix="The file is damaged or only half was written: learn the languages again.",
                )  # fmt: skip
        tensors = load_file(rows)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"cannot be read ({error})", file=rows, fix="Learn the languages again.") from error
    snapshots = {tag: Snapshot(size.num_tokens, size.num_merges) for tag, size in content.languages.items()}
    if content.multilingual is not None:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        bos, eos = content.multilingual.bos, content.multilingual.eos
        ready = MultilingualLexicon.from_tokenizer(tokenizer, tensors["rows"], bos=bos, eos=eos, native=base)
        return replace(ready, uses=tensors["uses"], snapshots=snapshots)
    table = torch.cat([base.table, torch.zeros(len(content.tokens), base.table.shape[1])])
    table[tensors["ids"]] = tensors["rows"]
    vocabulary = Vocabulary(
        base.vocabulary.tokens + tuple(content.tokens), base.vocabulary.merges + tuple(content.merges)
    )
    return replace(base, vocabulary=vocabulary, table=table, uses=tensors["uses"], snapshots=snapshots)
