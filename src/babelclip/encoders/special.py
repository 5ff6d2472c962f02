"""Which special tokens a tokenizer puts around a text: asked of the tokenizer itself, not of its class or its name."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from babelclip.encoders.frame import Frame
from babelclip.errors import ModelError


def read_frame(tokenizer: Any, positions: int, name: str, *, padded: bool = False) -> Frame:
    """Return the frame that a tokenizer of ``transformers`` gives its texts.

    Args:
        tokenizer: a fast one.
        positions: longest text that the tower has places for, in tokens.
        name: how messages call the model.
        padded: whether the tower reads padding, so that all texts are as long as that.

    Raises:
        ModelError: it does not end its texts, puts more than one token before or behind them, or names no padding.
    """
    before, behind = _around(tokenizer.backend_tokenizer)
    if len(before) > 1 or len(behind) != 1:
        said = [", ".join(map(str, tokenizer.convert_ids_to_tokens(ids))) or "nothing" for ids in (before, behind)]
        raise ModelError(
            f"the tokenizer of {name} puts {said[0]} before a text and {said[1]} behind it; expected one token "
            "or none, and one",
            fix="Save the tokenizer that the model was trained with; its tokenizer.json says so in post_processor.",
        )
    padding = tokenizer.pad_token_id if padded else None
    if padded and padding is None:
        raise ModelError(
            f"the tokenizer of {name} names no padding token, and its text tower reads padding",
            fix="Name it in tokenizer_config.json (pad_token).",
        )
    return Frame(
        before[0] if before else None, behind[0], positions, padding, left=padded and tokenizer.padding_side == "left"
    )


def _around(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids before and behind the pieces of a text."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    pieces, whole = (plain.encode("a", add_special_tokens=around).ids for around in (False, True))
    added = len(whole) - len(pieces)
    start = next((at for at in range(added + 1) if whole[at : at + len(pieces)] == pieces), added)
    return whole[:start], whole[start + len(pieces) :]


def shorter(tokenizer: Any, positions: int) -> int:
    """Return the longest text in tokens: the tower's places, or fewer if the tokenizer's own limit is lower."""
    limit = getattr(tokenizer, "model_max_length", None)
    return min(positions, int(limit)) if isinstance(limit, (int, float)) and limit > 2 else positions
