"""Damage packs at random and load them: each is refused with one of our errors, or is a whole pack.

    python bench/fuzz_packs.py --inputs 100000 --out bench/results/fuzz_packs.json

A quarter of the inputs are damaged zips; in the others a file inside is damaged, and mostly the hashes are made to fit,
so that the checks behind them are reached. Watched are: any other exception, files outside of the pack, memory (the
largest of the process may not grow by more than 200 MB), and the time of the slowest input.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from babelclip.continual import load
from babelclip.data.examples import base_lexicon
from babelclip.errors import BabelclipError
from babelclip.files import write_whole
from babelclip.lexicon import Lexicon, Wish
from babelclip.packs import load_pack, make_pack
from babelclip.packs.card import CARD
from babelclip.packs.pack import Pack, Profiles
from babelclip.packs.store import pack_files

ODD = (0, 1, -1, 2**31, 2**63, -(2**63), 1e308, "", "x" * 3000, None, [], {}, [[]], True, "../..", "\ud800", "\0")


def damage(whole: bytes, files: Mapping[str, bytes], chance: random.Random) -> bytes:
    """Return a damaged pack.

    Args:
        whole: a zip of the pack.
        files: what is in it.
        chance: of the run.
    """
    kind = chance.randrange(4)
    if kind == 0:
        return _bytes(whole, chance)
    name = chance.choice(sorted(files))
    content = files[name]
    if name.endswith(".json") and kind == 1:
        content = _json(content, chance)
    elif kind == 2 and not name.endswith(".json"):  # the header of the tensors
        size = 8 + int.from_bytes(content[:8], "little")
        content = _bytes(content[:size], chance) + content[size:]
    else:
        content = _bytes(content, chance)
    changed = {**files, name: content}
    if name != CARD and chance.random() < 0.9:
        changed[CARD] = _reseal(files[CARD], name, content)
    return _zip(changed)


def _bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut out, double or append some bytes."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(found) + 1)
        size = chance.choice((1, 1, 4, 64))
        how = chance.randrange(4)
        if how == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del found[at : at + size]
        elif how == 2:
            found[at:at] = found[at : at + size]
        else:
            found[at : at + size] = chance.randbytes(size)
    return bytes(found)


def _json(content: bytes, chance: random.Random) -> bytes:
    """Replace, remove or double a value somewhere inside."""
    whole = json.loads(content)
    place, key = {"": whole}, ""
    while isinstance(place[key], dict | list) and place[key] and chance.random() < 0.8:
        place = place[key]
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
    how = chance.randrange(3)
    if how == 0:
        place[key] = chance.choice(ODD)
    elif how == 1 and place is not whole and isinstance(place, dict):
        del place[key]
    elif isinstance(place, list):
        place.insert(0, place[key])
    else:
        place[chance.choice(("new", "format", "language"))] = chance.choice(ODD)
    return json.dumps(whole).encode("utf-8", "surrogatepass")


def _reseal(card: bytes, name: str, content: bytes) -> bytes:
    listed = json.loads(card)
    listed["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return json.dumps(listed).encode()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def small_pack() -> tuple[object, Lexicon, Pack]:
    """A pack of the built-in model with a bottleneck, as small as can be; nothing is trained."""
    from babelclip.acquirers import Acquirers, Bottleneck, Learnt

    student = load("pictoclip", device="cpu")
    encoder, base = student.encoder, base_lexicon(student.encoder)
    texts = ["ein rotes Haus", "zwei Hunde im Schnee", "grüne Äpfel"]
    lexicon = base.copy()
    chance = torch.Generator().manual_seed(0)
    lexicon.grow("de", texts, Wish(600), initialiser="matched", generator=chance)
    kind = Bottleneck(encoder.text_tower.shape, inner=2)
    kind.begin("de", encoder, chance)
    profiles = Profiles.learn(texts, ["a red house", "two dogs", "green apples"])
    learnt = Learnt(lexicon, Acquirers({kind.name: kind}))
    return encoder, base, make_pack(encoder, base, learnt, "de", method="mla(inner=2)", profiles=profiles)


def main() -> None:
    """Read the command line, damage, load, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder, base, pack = small_pack()
    files = pack_files(pack)
    whole, chance = _zip(files), random.Random(options.seed)
    reasons: Counter[str] = Counter()
    slowest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.babelpack"
        for _ in range(options.inputs):
            place.write_bytes(damage(whole, files, chance))
            begun = time.perf_counter()
            try:
                load_pack(place, encoder, base)
                reasons["a whole pack"] += 1
            except BabelclipError as error:
                reasons[" ".join(error.what.split()[:3])] += 1
            slowest = max(slowest, time.perf_counter() - begun)
        left = [entry.name for entry in Path(folder).iterdir()]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.perf_counter() - started
    if left != ["x.babelpack"] or grown >= 200:
        raise SystemExit(f"files written: {left}; memory grew by {grown:.0f} MB")
    print(f"{options.inputs:,} inputs of {len(whole):,} bytes in {seconds:.0f} s, seed {options.seed}: "
          f"{reasons['a whole pack']:,} were whole packs, the others refused in {len(reasons) - 1:,} ways; slowest "
          f"{1000 * slowest:.0f} ms, memory grew by {grown:.0f} MB")  # fmt: skip
    if options.out is not None:
        content = {"inputs": options.inputs, "seed": options.seed, "whole": reasons["a whole pack"],
                   "ways": len(reasons) - 1, "slowest_ms": round(1000 * slowest), "grown_mb": round(grown),
                   "seconds": round(seconds)}  # fmt: skip
        write_whole(options.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
