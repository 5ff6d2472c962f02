"""Small copies of pictures that can stand inside a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from babelclip.encoders import is_video, open_picture, sample_frames

PIXELS, QUALITY = 144, 80


def thumbnail(file: Path) -> str:
    """Return a data URI of a picture, or of the middle frame of a video; nothing else of the file is in it.

    What a camera writes into a file, such as the place, stays out of the page.

    Raises:
        DataError: the file is missing or damaged.
        MissingExtraError: it is a video, and the package ``av`` is not installed.
    """
    found = sample_frames(file, 1).pictures[0] if is_video(file) else open_picture(file)
    found.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", found.size)
    bare.paste(found)
    buffer = io.BytesIO()
    bare.save(buffer, format="WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
