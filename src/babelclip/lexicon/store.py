"""A lexicon on disk: what was added to, and changed in, the base model's own. Plain JSON and safetensors.

lexicon.json       format, base model, its tokenizer's sha256 and its tower's shape, languages with their snapshots,
                   appended tokens with their merges or scores, sha256 of the rows and of other files beside them
rows.safetensors   ids (R,), rows (R, width) float32: every row that differs from the base model's; uses (V,)
tokenizer.json     of a multilingual lexicon, whose rows all differ
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from babelclip.errors import FormatError
from babelclip.files import may_not_read, sha256, write_whole
from babelclip.lexicon.kinds import kind_of
from babelclip.lexicon.lexicon import Lexicon
from babelclip.lexicon.multilingual import MultilingualLexicon
from babelclip.lexicon.room import empty_table
from babelclip.lexicon.vocabulary import Snapshot, Vocabulary

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
    base_tokenizer: str = ""
    base_shape: dict[str, int] = {}
    languages: dict[str, _Languages]
    tokens: list[str]
    merges: list[tuple[str, str]]
    scores: list[FiniteFloat] = []
    rows_sha256: str
    beside: dict[str, str] = {}
    multilingual: _Multilingual | None = None


def pack_lexicon(
    lexicon: Lexicon, base: Lexicon, *, base_name: str, fingerprint: str, shape: Mapping[str, int] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """Return the files of a lexicon, as its difference from the base model's, in the order in which to write them.

    ``lexicon.json`` comes last and carries the sha256 of all others: a folder that was interrupted half way is either
    the old one or is refused by ``load_lexicon``, never mixed in silence.

    Args:
        lexicon: the lexicon.
        base: that of the base model.
        base_name: how the base model is called.
        fingerprint: of the base model.
        shape: of the base model's text tower; without it the files cannot be plugged into another base model.
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
    behind = lexicon.vocabulary.behind(base.vocabulary.size) if own else Vocabulary(())
    content = LexiconFile(
        format=FORMAT,
        base=base_name,
        base_fingerprint=fingerprint,
        base_tokenizer=fingerprint_tokenizer(base),
        base_shape=dict(shape or {}),
        languages={
            tag: _Languages(num_tokens=size.num_tokens, num_merges=size.num_merges)
            for tag, size in lexicon.snapshots.items()
        },
        tokens=list(behind.tokens),
        merges=list(behind.merges),
        scores=list(behind.scores),
        rows_sha256=hashlib.sha256(rows).hexdigest(),
        beside={name: hashlib.sha256(one).hexdigest() for name, one in beside.items()},
        multilingual=None if own else _Multilingual(bos=cast("int", lexicon.bos), eos=lexicon.eos),
    )
    kept = content.model_dump(exclude=None if behind.scores else {"scores"})
    listed = json.dumps(kept, ensure_ascii=False, indent=0) + "\n"
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


def fingerprint_tokenizer(base: Lexicon) -> str:
    """Sha256 over all that a base tokenizer's ids depend on; not over padding and truncation, which we do ourselves."""
    content = json.loads(base.base_tokenizer.to_str())
    kept = {name: content[name] for name in sorted(content) if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps([kept, base.bos, base.eos], sort_keys=True).encode()).hexdigest()


def _check_plug(file: Path, content: LexiconFile, learnt_on: str, tokenizer: str, shape: dict[str, int]) -> None:
    """Refuse a base model whose ids or sizes differ from those that a lexicon was learnt with."""
    if not (content.base_tokenizer and content.base_shape):
        raise FormatError(
            f"{learnt_on} and written before tokenizer and tower were written down, so it cannot be plugged in",
            file=file, fix="Load it with its own base model and save it again: babelclip.load(FOLDER).save(FOLDER).",
        )  # fmt: skip
    fix = "Give a base model that was tuned from the one it was learnt on."
    if content.base_tokenizer != tokenizer:
        raise FormatError(
            f"{learnt_on}, whose tokenizer has sha256 {content.base_tokenizer[:12]}, but that of the base model given "
            f"has {tokenizer[:12]}",
            file=file, fix=fix,
        )  # fmt: skip
    if content.base_shape != shape:
        then, now = (", ".join(f"{name} {size}" for name, size in one.items()) for one in (content.base_shape, shape))
        raise FormatError(
            f"{learnt_on}, whose text tower has {then}, but that of the base model given has {now}", file=file, fix=fix
        )


def load_lexicon(
    folder: Path, base: Lexicon, *, fingerprint: str, shape: Mapping[str, int] | None = None, plug: bool = False
) -> Lexicon:
    """Read a lexicon onto its base model's.

    Args:
        folder: what ``write_files`` wrote.
        base: the base model's own lexicon.
        fingerprint: of the base model.
        shape: of its text tower; looked at for ``plug``.
        plug: let it be another base model, if it has the same tokenizer and shape. Rows that were learnt are taken from
            the folder, all others from this base model.

    Raises:
        FormatError: a file is missing or damaged, or it was learnt on another base model.
    """
    content = read_lexicon_file(folder)
    if content.base_fingerprint != fingerprint:
        learnt_on = f"learnt on {content.base!r} with fingerprint {content.base_fingerprint[:12]}"
        if not plug:
            raise FormatError(
                f"{learnt_on}, but the base model given has {fingerprint[:12]}",
                file=folder / LEXICON,
                fix="Give the base model that it was learnt on, or, if this one was tuned from it, say plug=True in "
                "Python or --plug-in in `babelclip evaluate`.",
            )
        _check_plug(folder / LEXICON, content, learnt_on, fingerprint_tokenizer(base), dict(shape or {}))
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
    except PermissionError as error:
        raise may_not_read(rows) from error
    except (OSError, SafetensorError) as error:
        raise FormatError(f"cannot be read ({error})", file=rows, fix="Learn the languages again.") from error
    snapshots = {tag: Snapshot(size.num_tokens, size.num_merges) for tag, size in content.languages.items()}
    if content.multilingual is not None:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        bos, eos = content.multilingual.bos, content.multilingual.eos
        ready = MultilingualLexicon.from_tokenizer(tokenizer, tensors["rows"], bos=bos, eos=eos, native=base)
        return replace(ready, uses=tensors["uses"], snapshots=snapshots)
    count = len(base.table)
    table = empty_table(base.table, count + len(content.tokens))
    table[:count], table[count:] = base.table, 0.0
    table[tensors["ids"]] = tensors["rows"]
    behind = Vocabulary(tuple(content.tokens), tuple(content.merges), tuple(content.scores))
    if flaw := kind_of(base.base_tokenizer).flaw(base.base_tokenizer, base.vocabulary, behind):
        raise FormatError(flaw, file=folder / LEXICON, fix="The file is damaged: learn the languages again.")
    return replace(base, vocabulary=base.vocabulary + behind, table=table, uses=tensors["uses"], snapshots=snapshots)
