"""What ``babelclip pack verify`` does beyond loading: no language changes any other, bit for bit."""

from __future__ import annotations

import torch

from babelclip.encoders import encode_tokens
from babelclip.errors import FormatError
from babelclip.languages import NATIVE
from babelclip.packs.polyglot import Polyglot

PROBES = [
    "a red apple on a wooden table",
    "two dogs run through the snow",
    "12 + 3",
    "🙂",
    "Zürich",
    "犬",
    "",
]
"""Texts of ours; which language they are in does not matter to bits."""


def verify_polyglot(polyglot: Polyglot) -> list[str]:
    """Compare vectors of some texts in each language, with all packs and with that one alone; return what was found.

    Raises:
        FormatError: a vector differs. It cannot happen as long as packs are only read by babelclip.
    """
    polyglot = polyglot.with_tower(None)  # packs are looked at, and not what runs them
    base, encoder = polyglot.base, polyglot.encoder
    found = polyglot.encode_texts(PROBES, language=NATIVE)
    if not torch.equal(found, encode_tokens(encoder, base.table, base.encode(PROBES))):
        raise FormatError("English texts have not the base model's vectors", fix="Please report this as a mistake.")
    lines = [f"{NATIVE}: the base model's own vectors, bit for bit"]
    for tag, pack in polyglot.packs.items():
        alone = Polyglot(encoder, base, [pack]).encode_texts(PROBES, language=tag)
        if not torch.equal(alone, polyglot.encode_texts(PROBES, language=tag)):
            raise FormatError(f"texts in {tag!r} change with other packs", fix="Please report this as a mistake.")
        if not bool(alone.isfinite().all()):
            raise FormatError(
                f"texts in {tag!r} have no finite vectors", fix="The pack is of no use: learn the language again."
            )
        lines.append(f"{tag}: hashes and contents as its card says; the same vectors as alone, bit for bit")
    return lines
