"""Pictures in the terminal, where it can show them: the protocols of iTerm2 and of kitty."""

from __future__ import annotations

import base64
import io
import os
import sys

ROWS = 8
"""Height of a thumbnail in lines of text."""
_CHUNK = 4096


def can_draw() -> bool:
    """Whether the output is a terminal known to show pictures."""
    return sys.stdout.isatty() and _protocol() is not None


def draw(jpeg: bytes) -> None:
    """Draw a JPEG picture, ``ROWS`` lines high; nothing where there is none or the terminal cannot."""
    if not jpeg:
        return
    if _protocol() == "kitty":
        from PIL import Image

        content = io.BytesIO()  # kitty takes PNG
        Image.open(io.BytesIO(jpeg)).save(content, "PNG")
        written = base64.standard_b64encode(content.getvalue()).decode()
        parts = [written[start : start + _CHUNK] for start in range(0, len(written), _CHUNK)]
        for number, part in enumerate(parts):
            first = f"a=T,f=100,r={ROWS}," if number == 0 else ""
            sys.stdout.write(f"\033_G{first}m={int(number < len(parts) - 1)};{part}\033\\")
    else:
        written = base64.standard_b64encode(jpeg).decode()
        sys.stdout.write(f"\033]1337;File=inline=1;height={ROWS};size={len(jpeg)}:{written}\a")
    sys.stdout.write("\n")
    sys.stdout.flush()


def _protocol() -> str | None:
    """Which protocol the terminal speaks, by what it says of itself."""
    if os.environ.get("KITTY_WINDOW_ID") or os.environ.get("TERM") in {"xterm-kitty", "xterm-ghostty"}:
        return "kitty"
    if os.environ.get("TERM_PROGRAM") in {"iTerm.app", "WezTerm", "vscode", "mintty"}:
        return "iterm2"
    return None
