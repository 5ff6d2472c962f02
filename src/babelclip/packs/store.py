"""Packs on disk: what each file holds, and every check before any of it is used.

pack.json             the card, with sha256 and size of the others (``card``)
rows.safetensors      ids (R,) int32; rows (R, width) float32, float16, or int8 beside scale (R,) float32
vocabulary.json       tokens behind the base tokenizer's, with their merges and, of a Unigram, scores
modules.safetensors   tensors named kind/name, where the language has modules in the text tower
profiles.safetensors  the router's n-gram counts, named own/... and native/...
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from babelclip.acquirers import Acquirers
from babelclip.acquirers.by_language import ByLanguage
from babelclip.acquirers.kinds import KINDS
from babelclip.encoders import DualEncoder
from babelclip.errors import BabelclipError, FormatError
from babelclip.lexicon import Lexicon, Vocabulary
from babelclip.lexicon.kinds import kind_of
from babelclip.packs.card import CARD, File, PackCard, read_card
from babelclip.packs.container import MIB, MODULES, PROFILES, ROWS, VOCABULARY, read_files, write_files
from babelclip.packs.pack import Pack, Profiles
from babelclip.packs.profile import Profile
from babelclip.packs.quantise import pack_rows, unpack_rows

_DAMAGED = "The pack is damaged: get it again from where it came from."
MOST_TOKENS = 2_000_000
LARGEST_OPTION = 8
"""Largest option of a kind of modules, such as the width of a bottleneck, as a multiple of the tower's width."""
Token = Annotated[str, Field(min_length=1, max_length=1_000)]


class _Vocabulary(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = Field(max_length=MOST_TOKENS)
    merges: list[tuple[Token, Token]] = Field(max_length=MOST_TOKENS)
    scores: list[FiniteFloat] = Field(default=[], max_length=MOST_TOKENS)


def pack_files(pack: Pack) -> dict[str, bytes]:
    """Return the files of a pack by name; equal packs give equal bytes."""
    words = pack.vocabulary
    vocabulary = {"tokens": list(words.tokens), "merges": [list(pair) for pair in words.merges]}
    if words.scores:
        vocabulary["scores"] = list(words.scores)
    files = {
        ROWS: save({"ids": pack.ids.to(torch.int32), **pack_rows(pack.rows, pack.card.rows)}),
        VOCABULARY: (json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n").encode(),
    }
    if pack.acquirers.kinds:
        # Tensors of a pack are named without the language, so that their names need not be believed.
        files[MODULES] = save(
            {
                f"{name}/{key}": tensor.cpu().contiguous()
                for name, kind in pack.acquirers.kinds.items()
                for key, tensor in kind.modules[pack.language].items()
            }
        )
    if pack.profiles is not None:
        parts = {"own": pack.profiles.own, "native": pack.profiles.native}
        files[PROFILES] = save(
            {f"{part}/{name}": one.contiguous() for part, each in parts.items() for name, one in each.tensors().items()}
        )
    listed = {name: File(sha256=hashlib.sha256(one).hexdigest(), bytes=len(one)) for name, one in files.items()}
    card = pack.card.model_copy(update={"files": listed})
    content = json.dumps(card.model_dump(), ensure_ascii=False, indent=1) + "\n"
    return {CARD: content.encode(), **files}


def save_pack(pack: Pack, path: Path | str) -> None:
    """Write a pack: one file where ``path`` ends in ``.babelpack``, else a folder.

    Raises:
        SettingError: something stands there.
        BabelclipError: the place cannot be written to.
    """
    write_files(pack_files(pack), Path(path))


def load_card(path: Path | str) -> PackCard:
    """Read what a pack says of itself; its other files are compared with their sha256, and not opened.

    Raises:
        FormatError: it is no pack, or damaged.
    """
    return _checked(read_files(Path(path)), Path(path))


def count_contents(path: Path | str) -> tuple[PackCard, int, int]:
    """Return what a pack says of itself, how many rows it has, and how many new tokens; its base model is not needed.

    Raises:
        FormatError: it is no pack, or damaged.
    """
    files = read_files(Path(path))
    card = _checked(files, Path(path))
    try:
        return card, len(_tensors(files[ROWS], ROWS)["ids"]), len(json.loads(files[VOCABULARY])["tokens"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FormatError(f"it cannot be read ({error})", file=path, fix=_DAMAGED) from error


def load_pack(path: Path | str, encoder: DualEncoder, base: Lexicon) -> Pack:
    """Read a pack and check everything in it.

    Args:
        path: file or folder.
        encoder: the base model that it is for.
        base: that model's own lexicon.

    Raises:
        FormatError: it is no pack, damaged, changed, of another format, or for another base model.
        UnknownNameError: it has modules of a newer babelclip.
    """
    path = Path(path)
    files = read_files(path)
    card = _checked(files, path)
    if card.base.fingerprint != encoder.fingerprint:
        raise FormatError(
            f"it is for {card.base.name!r} with fingerprint {card.base.fingerprint[:12]}, but the base model is "
            f"{encoder.name!r} with {encoder.fingerprint[:12]}",
            file=path, fix="Install it beside its own base model, or learn the language for this one.",
        )  # fmt: skip
    try:
        vocabulary = _read_vocabulary(files[VOCABULARY], base)
        ids, rows = _read_rows(files[ROWS], card, base, len(vocabulary.tokens))
        acquirers = _read_modules(files.get(MODULES), card, encoder)
    except ValidationError as error:
        raise FormatError(f"{VOCABULARY}: {error.errors()[0]['msg']}", file=path, fix=_DAMAGED) from error
    except (SafetensorError, ValueError, KeyError, TypeError, ArithmeticError, RuntimeError) as error:
        raise FormatError(f"it cannot be read ({error})", file=path, fix=_DAMAGED) from error
    return Pack(card, vocabulary, ids, rows, acquirers, _read_profiles(files.get(PROFILES), path))


def _checked(files: Mapping[str, bytes], path: Path) -> PackCard:
    """Read the card and compare the files beside it with what it says."""
    card = read_card(files[CARD], path)
    beside = files.keys() - {CARD}
    if beside != card.files.keys():
        raise FormatError(
            f"it has {', '.join(sorted(beside))}, but {CARD} lists {', '.join(sorted(card.files))}",
            file=path, fix=_DAMAGED,
        )  # fmt: skip
    for name, expected in card.files.items():
        if (found := hashlib.sha256(files[name]).hexdigest()) != expected.sha256:
            raise FormatError(
                f"{name} has sha256 {found[:12]}, but {CARD} says {expected.sha256[:12]}: it was damaged or changed",
                file=path, fix="Get the pack again from where it came from.",
            )  # fmt: skip
    if bool(card.modules) != (MODULES in files):
        raise FormatError(f"modules are {list(card.modules)}, but {MODULES} says else", file=path, fix=_DAMAGED)
    return card


def _tensors(content: bytes, name: str) -> dict[str, Tensor]:
    """Read tensors; a header of more than a MiB is none of ours."""
    header = int.from_bytes(content[:8], "little")
    if len(content) < 8 or header > min(MIB, len(content) - 8):
        raise ValueError(f"{name} has a header of {header:,} bytes in a file of {len(content):,}")
    found: dict[str, Tensor] = load(content)
    return found


def _read_vocabulary(content: bytes, base: Lexicon) -> Vocabulary:
    """Tokens that are new and differ, and what the kind of the base tokenizer cuts by."""
    read = _Vocabulary.model_validate_json(content)
    found, known = Vocabulary(tuple(read.tokens), tuple(read.merges), tuple(read.scores)), set(base.vocabulary.tokens)
    for token in found.tokens:
        if token in known:
            raise ValueError(f"the token {token[:40]!r} stands twice")
        known.add(token)
    if flaw := kind_of(base.base_tokenizer).flaw(base.base_tokenizer, base.vocabulary, found):
        raise ValueError(flaw)
    return found


def _read_rows(content: bytes, card: PackCard, base: Lexicon, new: int) -> tuple[Tensor, Tensor]:
    """Sorted ids and their rows; every new token has one."""
    tensors = _tensors(content, ROWS)
    ids, rows = tensors["ids"], unpack_rows(tensors, card.rows)
    old = len(base.table)
    if ids.dtype != torch.int32 or ids.shape != rows.shape[:1]:
        raise ValueError(f"the ids are {tuple(ids.shape)} {ids.dtype}, the rows {tuple(rows.shape)}")
    ids = ids.long()
    if rows.shape[1] != base.table.shape[1]:
        raise ValueError(f"rows are {rows.shape[1]} wide, those of the base model {base.table.shape[1]}")
    if len(ids) and (int(ids[0]) < 0 or int(ids[-1]) >= old + new or bool((ids[1:] <= ids[:-1]).any())):
        raise ValueError(f"ids are not sorted, or not between 0 and {old + new - 1}")
    if int((ids >= old).sum()) != new:
        raise ValueError(f"{int((ids >= old).sum()):,} rows for {new:,} new tokens")
    return ids, rows


def _read_modules(content: bytes | None, card: PackCard, encoder: DualEncoder) -> Acquirers:
    """Modules of the language, each of the shape that its kind would make."""
    if content is None:
        return Acquirers()
    tensors = _tensors(content, MODULES)
    shape, kinds = encoder.text_tower.shape, {}
    for name, options in card.modules.items():
        kind = KINDS[name]
        if not issubclass(kind, ByLanguage):
            raise ValueError(f"{name} has modules that languages share")
        if any(not 0 <= value <= LARGEST_OPTION * shape.width for value in options.values()):
            raise ValueError(f"{name} has options that no tower of width {shape.width} has: {options}")
        made = kind(shape, **options)
        made.begin(card.language, encoder, torch.Generator().manual_seed(0))
        expected = {f"{name}/{key}": (one.shape, one.dtype) for key, one in made.modules[card.language].items()}
        found = {key: (one.shape, one.dtype) for key, one in tensors.items() if key.startswith(f"{name}/")}
        if found != expected:
            raise ValueError(f"the modules of {name} are not of the shape that the text tower needs")
        if not all(bool(tensors[key].isfinite().all()) for key in found):
            raise ValueError(f"some numbers of {name} are not finite")
        made.modules = {card.language: {key.partition("/")[2]: tensors[key].to(encoder.device) for key in found}}
        kinds[name] = made
    if extra := [key for key in tensors if key.partition("/")[0] not in kinds]:
        raise ValueError(f"{extra[0][:80]!r} belongs to no kind of modules")
    return Acquirers(kinds)


def _read_profiles(content: bytes | None, path: Path) -> Profiles | None:
    """The router's part."""
    if content is None:
        return None
    try:
        tensors = _tensors(content, PROFILES)
        parts = {part: {key.partition("/")[2]: one for key, one in tensors.items() if key.startswith(f"{part}/")}
                 for part in ("own", "native")}  # fmt: skip
        if sum(map(len, parts.values())) != len(tensors):
            raise ValueError("there are tensors of neither profile")
        return Profiles(*(Profile.from_tensors(parts[part]) for part in ("own", "native")))
    except BabelclipError as error:
        raise FormatError(f"{PROFILES}: {error.what}", file=path, fix=_DAMAGED) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{PROFILES} cannot be read ({error})", file=path, fix=_DAMAGED) from error
