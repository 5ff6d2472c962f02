"""Captions to measure speed with: real ones from a folder, or names of emoji joined to texts of the same lengths."""

from __future__ import annotations

import json
import random
from pathlib import Path

from babelclip.benchmarks import openmoji

# Words of a caption in Flickr8k, per mille, from 1 word on (39,990 English and 44,233 German ones).
WORDS = {
    "en": (0, 0, 1, 6, 13, 32, 66, 85, 95, 107, 108, 101, 90, 76, 61, 44, 34, 24, 18, 12, 8, 5, 4, 3, 2, 2, 1, 1),
    "de": (0, 2, 18, 41, 69, 121, 116, 109, 116, 90, 75, 63, 46, 35, 27, 19, 14, 10, 8, 5, 4, 3, 2, 2, 1, 1, 1, 1, 1),
}


def load_captions(folder: Path | None, count: int) -> tuple[dict[str, list[str]], str]:
    """Return ``count`` captions of each language of ``WORDS`` in the order of their corpus, and where they come from.

    Args:
        folder: holds ``en.json`` and ``de.json``, Karpathy style; None for made-up captions.
        count: captions a language.
    """
    if folder is not None:
        return {tag: _read(folder / f"{tag}.json")[:count] for tag in WORDS}, "Flickr8k captions"
    chance = random.Random(0)
    concepts, _ = openmoji.load_concepts()
    made = {}
    for tag, weights in WORDS.items():
        pool = [word for concept in concepts for word in concept.names[tag].split()]
        lengths = chance.choices(range(1, len(weights) + 1), weights, k=count)
        made[tag] = [" ".join(chance.choices(pool, k=length)) for length in lengths]
    return made, "emoji names joined to the lengths of Flickr8k captions"


def _read(file: Path) -> list[str]:
    images = json.loads(file.read_text(encoding="utf-8"))["images"]
    return [sentence["raw"] for image in images for sentence in image["sentences"]]
