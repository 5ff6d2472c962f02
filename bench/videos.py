"""Search videos in four languages: pictograms in motion, before and after teaching.

    python recipes/moving_pictograms.py --concepts 1365 --out build/moving1365    # 7,245 videos
    python bench/videos.py build/moving1365 --out bench/results/videos.json

The base model is ``pictoclip``, which never saw a video or a word for a motion. Three languages are learnt at once by
both stages of MLA. The gallery holds all test videos; their drawings are in no training set. Four figures:

- ``video``: texts that find their video first (img_r1);
- ``drawing``: texts that find some video of their drawing first;
- ``blind``: drawing / videos of a drawing. Who knows drawings but no motion finds the right video so often;
- ``mean``: drawing x the share of texts that whoever knows every motion, but not the direction of time, finds among
  the videos of their drawing. More cannot be told from a mean over frames.

``--frames 1`` looks at the middle of each video only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from torch.nn.functional import normalize

from babelclip.config import PICTOCLIP, change_settings
from babelclip.continual import Student, load
from babelclip.continual.record import JOINT
from babelclip.data import Cache, Examples, join_examples
from babelclip.evaluation import chance_scores
from babelclip.files import write_whole
from babelclip.training.allocator import keep_freed_memory

TAUGHT = ("de", "fr", "es")
PAIRS = (("left", "right"), ("up", "down"), ("growing", "shrinking"), ("appearing", "fading"))
BACKWARDS = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
Figures = dict[str, float]


def drawing_of(file: Path) -> str:
    """The drawing that moves in a video."""
    return file.stem.rpartition("-")[0]


def told_apart(files: Sequence[Path]) -> float:
    """Share of videos that are found among those of their drawing without the direction of time."""
    there = {file.stem for file in files}
    twice = [f"{drawing_of(file)}-{BACKWARDS.get(file.stem.rpartition('-')[2])}" in there for file in files]
    return 1 - sum(twice) / 2 / len(files)


def measure(student: Student, examples: Examples) -> Figures:
    """Return the four figures and the usual ones, in percent."""
    texts = normalize(student.learnt.encode(student.encoder, examples.texts, examples.language), dim=1)
    best = (texts @ normalize(examples.images[:], dim=1).T).argmax(dim=1)
    drawings = [drawing_of(file) for file in examples.files]
    found = [drawings[a] == drawings[b] for a, b in zip(best.tolist(), examples.owner.tolist(), strict=True)]
    scores, share = student.evaluate(examples), len(set(drawings)) / len(drawings)
    drawing = 100 * sum(found) / len(found)
    return {"video": scores["img_r1"], "drawing": drawing, "blind": drawing * share,
            "mean": drawing * told_apart(examples.files), "img_r10": scores["img_r10"],
            "txt_r10": scores["txt_r10"], "r_mean": scores["r_mean"]}  # fmt: skip


def main() -> None:
    """Read the command line, teach, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lexicon", default=None, help="a multilingual tokenizer; default: the growing lexicon")
    parser.add_argument("--width", type=int, default=None, help="of random rows for its words")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test", help="val, to choose settings with")
    parser.add_argument("--method", default="mla(start=uniform)+nlt(rate=3e-3,epochs=4)+le(rate=3e-3,epochs=4)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the other settings")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    settings = change_settings(PICTOCLIP, options.set)
    begin = load(
        "pictoclip", lexicon=options.lexicon, lexicon_width=options.width, frames=options.frames, device="cpu",
        cache=Cache(options.cache),
    )  # fmt: skip
    train = [begin.examples(tag, options.data / f"{tag}.train.tsv") for tag in TAUGHT]
    tests = [begin.examples(tag, options.data / f"{tag}.{options.split}.tsv") for tag in ("en", *TAUGHT)]
    rows: dict[str, dict[str, list[Figures]]] = {"before": {one.language: [measure(begin, one)] for one in tests}}
    rows["after"] = {one.language: [] for one in tests}
    for seed in map(int, options.seeds.split(",")):
        student = Student(begin.encoder, begin.learnt, begin.teacher)
        student.learn(JOINT, join_examples(train, JOINT), method=options.method, settings=replace(settings, seed=seed))
        for one in tests:
            rows["after"][one.language].append(measure(student, one))
    chance = chance_scores(tests[0].owner, len(tests[0].files))
    print(f"{len(tests[0].files):,} videos, {options.frames} frames; chance img_r1 {chance['img_r1']:.2f}, "
          f"img_r10 {chance['img_r10']:.1f}; {options.method}")  # fmt: skip
    for when, languages in rows.items():
        for language, found in languages.items():
            cells = [f"{name} {_cell([one[name] for one in found])}" for name in found[0]]
            print(f"{when:7} {language}: {', '.join(cells)}")
    if options.out is not None:
        said = {"method": options.method, "set": options.set, "lexicon": options.lexicon is not None,
                "frames": options.frames, "seeds": options.seeds, "split": options.split}  # fmt: skip
        content = {"options": said, "videos": len(tests[0].files), "chance": chance, **rows}
        write_whole(options.out, json.dumps(content, indent=1) + "\n")


def _cell(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" +- {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
