"""MLA whole: both stages, English, a language added later, and what it costs against joint training.

    python recipes/multilingual_wordpiece.py --out build/wordpiece --texts ...
    python bench/mla.py MODEL DATA --lexicon build/wordpiece --first --out bench/results/mla.json

MODEL is a CLIPModel folder with ``image_embeds.npy`` beside its weights, DATA a folder of ``flickr8k-multi``; with
``--first`` one caption a picture is learnt from. Four languages are learnt at once, text first (NLT), images second
(LE); then a fifth one is added in three ways: with its acquirers alone, with the words open, and to a student whose
whole text tower is shared (the joint multilingual model that MLA is held against). All figures are r_mean on the test
split (MLA's AR, protocol ``caption``), in percent.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from babelclip.acquirers import Learnt
from babelclip.benchmarks import DATASETS
from babelclip.config import PAPER, TaskSettings
from babelclip.continual import Student, load
from babelclip.continual.record import JOINT
from babelclip.data import Cache, Examples, join_examples, read_image_vectors
from babelclip.files import write_whole
from babelclip.training.allocator import keep_freed_memory

TOGETHER, LATER = ("de", "zh", "ar", "fr"), "es"
Figures = dict[str, float]


class Bench:
    """One base model with its data, and what is measured of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load and encode everything once."""
        self.options = options
        lexicon = None if options.lexicon == "own" else options.lexicon
        self.begin = load(
            options.model, lexicon=lexicon, lexicon_width=options.width, cache=Cache(options.cache), device="cpu"
        )
        dataset = DATASETS["flickr8k-multi"]
        place = dataset.place(options.data, read_image_vectors(options.model / "image_embeds.npy"))
        self.examples: dict[tuple[str, str], Examples] = {}
        for language in ("en", *TOGETHER, LATER):
            for split in ("train", options.split):
                corpus = dataset.load(place, language, split)
                corpus = corpus.first_captions() if split == "train" and options.first else corpus
                self.examples[language, split] = self.begin.teacher.prepare(corpus)
        self.joined = join_examples([self.examples[language, "train"] for language in TOGETHER], JOINT)

    def learn(
        self, learnt: Learnt, method: str, language: str | None = None, *, seed: int, again: bool = False
    ) -> tuple[Learnt, dict[str, float]]:
        """Teach the four languages, or one; return what was learnt and the seconds of each stage."""
        student = Student(self.begin.encoder, learnt, self.begin.teacher)
        data = self.joined if language is None else self.examples[language, "train"]
        settings: TaskSettings = replace(PAPER, seed=seed)
        report = student.learn(data.language, data, method=method, settings=settings, again=again)
        return student.learnt, report.stages

    def scores(self, learnt: Learnt, *languages: str) -> Figures:
        """Return r_mean by language."""
        student = Student(self.begin.encoder, learnt, self.begin.teacher)
        return {one: student.evaluate(self.examples[one, self.options.split])["r_mean"] for one in languages}

    def vectors(self, learnt: Learnt, language: str) -> torch.Tensor:
        """Return the vectors of a language's test texts."""
        return learnt.encode(self.begin.encoder, self.examples[language, self.options.split].texts, language)

    def same(self, before: Learnt, after: Learnt, *languages: str) -> bool:
        """Whether the test texts of languages have the same vectors to the last bit."""
        return all(torch.equal(self.vectors(before, one), self.vectors(after, one)) for one in languages)

    def run(self, seed: int) -> dict[str, Any]:
        """Measure everything with one seed."""
        options, begin = self.options, self.begin.learnt
        mla = f"mla(start=uniform)+nlt(rate={options.nlt_rate},epochs={options.nlt_epochs})"
        le = f"+le(rate={options.le_rate},epochs={options.le_epochs})"
        found: dict[str, Any] = {"base": self.scores(begin, "en", *TOGETHER)}
        nlt, seconds = self.learn(begin, mla, seed=seed)
        found["NLT"] = self.scores(nlt, "en", *TOGETHER)
        both, more = self.learn(nlt, f"mla(start=uniform){le}", seed=seed, again=True)
        found["NLT + LE"] = self.scores(both, "en", *TOGETHER)
        found["seconds"] = seconds | more
        found["numbers"] = count(both)
        found["English identical"] = self.same(begin, both, "en")
        alone = f"mla(start=uniform)+le(rate={options.alone_rate},epochs={options.nlt_epochs})"
        only, _ = self.learn(begin, alone, seed=seed)
        found["LE alone"] = self.scores(only, "en", *TOGETHER)
        if options.stages_only:
            return found
        full = f"full+nlt(rate={options.full_rate},epochs={options.nlt_epochs}){le}"
        shared, seconds = self.learn(begin, full, seed=seed)
        found["whole tower, jointly"] = self.scores(shared, "en", *TOGETHER)
        found["seconds jointly"] = seconds
        found["numbers jointly"] = count(shared)
        for name, learnt, method in (
            ("acquirers alone", both, mla.replace("start=uniform", "start=uniform,words=frozen") + le),
            ("words open", both, mla + le), ("whole tower", shared, full),
        ):  # fmt: skip
            after, _ = self.learn(learnt, method, LATER, seed=seed)
            found[f"later, {name}"] = self.scores(after, "en", *TOGETHER, LATER)
            found[f"others identical, {name}"] = self.same(learnt, after, "en", *TOGETHER)
        return found


def count(learnt: Learnt) -> dict[str, int]:
    """Return how many numbers were learnt: of one language's acquirers, of all other modules, and of words."""
    tensors = learnt.acquirers.tensors()
    own = sum(one.numel() for name, one in tensors.items() if name.split("/")[1] == TOGETHER[0])
    shared = sum(one.numel() for name, one in tensors.items() if not name.split("/")[1])
    return {"a language": own, "shared modules": shared, "words": learnt.lexicon.table.numel()}


def show(found: list[dict[str, Any]]) -> None:
    """Print mean and deviation over the seeds."""
    for name, first in found[0].items():
        if isinstance(first, dict):
            cells = []
            for key in first:
                values = [one[name][key] for one in found]
                spread = f" +- {stdev(values):.1f}" if len(values) > 1 else ""
                cells.append(f"{key} {mean(values):,.1f}{spread}")
            print(f"{name:32} {', '.join(cells)}")
        else:
            print(f"{name:32} {', '.join(str(one[name]) for one in found)}")


def main() -> None:
    """Read the command line, run all seeds, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lexicon", default="own")
    parser.add_argument("--width", type=int, default=None, help="of the words' rows")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test", help="val, to choose settings with")
    parser.add_argument("--first", action="store_true", help="one caption a picture")
    parser.add_argument("--stages-only", action="store_true")
    parser.add_argument("--nlt-rate", type=float, default=2e-3)
    parser.add_argument("--nlt-epochs", type=int, default=4)
    parser.add_argument("--le-rate", type=float, default=3e-5)
    parser.add_argument("--le-epochs", type=int, default=1)
    parser.add_argument("--alone-rate", type=float, default=1e-3, help="of LE without NLT, with as many passes as NLT")
    parser.add_argument("--full-rate", type=float, default=1e-3, help="where the whole tower is trained")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    bench = Bench(options)
    found = [bench.run(int(seed)) for seed in options.seeds.split(",")]
    show(found)
    if options.out is not None:
        said = {
            name: str(value) for name, value in vars(options).items() if name not in ("model", "data", "cache", "out")
        }
        said["lexicon"] = Path(options.lexicon).name
        write_whole(options.out, json.dumps({"options": said, "seeds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
