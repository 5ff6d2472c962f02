"""Search videos in four languages: pictograms in motion, before and after teaching.

    python recipes/moving_pictograms.py --out build/moving                        # 11,100 videos
    python bench/videos.py build/moving --lexicon build/wordpiece --out bench/results/videos.json

The base model is ``pictoclip``, which never saw a video or a word for a motion. Three languages are learnt at once by
both stages of MLA. The gallery holds all test videos; their drawings are in no training set. Three figures:

- ``video``: texts that find their video first (img_r1);
- ``drawing``: texts that find some video of their drawing first;
- ``blind``: drawing / videos of a drawing. Who knows drawings but no motion finds the right video so often.

``--frames 1`` looks at the middle of each video only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from torch.nn.functional import normalize

from babelclip.config import PICTOCLIP
from babelclip.continual import Student, load
from babelclip.continual.stream import JOINT
from babelclip.data import Cache, Examples, join_examples
from babelclip.evaluation import chance_scores
from babelclip.files import write_whole
from babelclip.training.allocator import keep_freed_memory

TAUGHT = ("de", "fr", "es")
Figures = dict[str, float]


def drawing_of(file: Path) -> str:
    """The drawing that moves in a video."""
    return file.stem.rpartition("-")[0]


def measure(student: Student, examples: Examples) -> Figures:
    """Return the three figures and the usual ones, in percent."""
    texts = normalize(student.learnt.encode(student.encoder, examples.texts, examples.language), dim=1)
    best = (texts @ normalize(examples.images[:], dim=1).T).argmax(dim=1)
    drawings = [drawing_of(file) for file in examples.files]
    found = [drawings[a] == drawings[b] for a, b in zip(best.tolist(), examples.owner.tolist(), strict=True)]
    scores, share = student.evaluate(examples), len(set(drawings)) / len(drawings)
    drawing = 100 * sum(found) / len(found)
    return {"video": scores["img_r1"], "drawing": drawing, "blind": drawing * share, "img_r10": scores["img_r10"],
            "txt_r10": scores["txt_r10"], "r_mean": scores["r_mean"]}  # fmt: skip


def main() -> None:
    """Read the command line, teach, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lexicon", default=None)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test", help="val, to choose settings with")
    parser.add_argument("--method", default="mla(start=uniform)+nlt(rate=3e-3,epochs=4)+le(rate=3e-4)")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    begin = load("pictoclip", lexicon=options.lexicon, frames=options.frames, cache=Cache(options.cache))
    train = [begin.examples(tag, options.data / f"{tag}.train.tsv") for tag in TAUGHT]
    tests = [begin.examples(tag, options.data / f"{tag}.{options.split}.tsv") for tag in ("en", *TAUGHT)]
    rows: dict[str, dict[str, list[Figures]]] = {"before": {one.language: [measure(begin, one)] for one in tests}}
    rows["after"] = {one.language: [] for one in tests}
    for seed in map(int, options.seeds.split(",")):
        student = Student(begin.encoder, begin.learnt, begin.teacher)
        student.learn(JOINT, join_examples(train, JOINT), method=options.method, settings=replace(PICTOCLIP, seed=seed))
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
        said = {"method": options.method, "frames": options.frames, "seeds": options.seeds, "split": options.split}
        content = {"options": said, "videos": len(tests[0].files), "chance": chance, **rows}
        write_whole(options.out, json.dumps(content, indent=1) + "\n")


def _cell(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" +- {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
