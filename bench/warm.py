"""Where a pack's rows start: at random, or from base model, pairs or other packs; and quality against number of pairs.

    python bench/warm.py flickr8k DATA --model MODEL --out bench/results/warm.json    # photographs
    python bench/warm.py names report/data --out bench/results/warm.json              # after make demo
    python bench/warm.py fit bench/results/warm.json                                  # constants of packs/curve.py

MODEL is a CLIPModel folder with ``image_embeds.npy`` beside its weights, DATA a folder of ``flickr8k-multi``. Each run
learns one pack and measures the test split before and after training; ``before`` is img_r10 of the start alone. The
pairs are a sample (``Corpus.sample``: smaller ones are part of larger ones), the test has one caption a picture, and
``share`` is img_r10 in percent of the base model's English one on the same pictures. Runs are added to the file, so
that a part can be repeated: ``--languages``, ``--sizes``, ``--starts``, ``--seeds``; ``--split val`` chooses settings.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from babelclip.acquirers import Learnt
from babelclip.benchmarks import DATASETS
from babelclip.data import Cache, Corpus, Examples, Teacher, read_captions, read_image_vectors
from babelclip.data.examples import base_lexicon
from babelclip.encoders import load_encoder
from babelclip.evaluation import retrieval_scores
from babelclip.files import write_whole
from babelclip.packs import Polyglot, learn_pack, pack_recipe
from babelclip.packs.warm import Start, Words, base_rows, donated_rows, grow_words, pair_rows, start_words
from babelclip.training.allocator import keep_freed_memory

Run = dict[str, Any]
KEYS = ("data", "language", "donors", "pairs", "start", "split", "rate", "epochs")


def scaled(words: Words) -> torch.Tensor:
    """As ``base``, but each new row as long as the base model's median row."""
    table, old = base_rows(words), len(words.base.table)
    table[old:] *= words.base.table.norm(dim=1).median() / table[old:].norm(dim=1, keepdim=True)
    return table


def only_packs(words: Words) -> torch.Tensor:
    """Rows of other packs wherever there is one, all others at random."""
    donated, given = donated_rows(words)
    return torch.where(given[:, None], donated, words.grown.table)


def packs_over_pairs(words: Words) -> torch.Tensor:
    """Rows of other packs wherever there is one, all others as ``pairs``."""
    donated, given = donated_rows(words)
    return torch.where(given[:, None], donated, pair_rows(words))


def pairs_over_packs(words: Words) -> torch.Tensor:
    """As ``pairs``, and rows of other packs where the training texts do not use a token."""
    donated, given = donated_rows(words)
    given[words.tokens.used()] = False
    return torch.where(given[:, None], donated, pair_rows(words))


VARIANTS: dict[str, Start] = {
    "base scaled": scaled,
    "only packs": only_packs,
    "packs over pairs": packs_over_pairs,
    "pairs over packs": pairs_over_packs,
}
"""Starts that were tried and are not offered."""


@dataclass(frozen=True)
class Side:
    """One language: whose packs it may start from, and how many pairs are learnt from."""

    language: str
    donors: tuple[str, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Setup:
    """One kind of data: languages, sizes, and by size the passes over the pairs; rate and batch for all."""

    sides: tuple[Side, ...]
    epochs: dict[int, int]
    rate: float
    donor_pairs: int


SETUPS = {
    "flickr8k": Setup(
        (Side("fr", ("de",), (100, 300, 1_000, 3_000, 5_528)), Side("de", ("fr",), (100, 1_000, 10_000)),
         Side("zh", ("de", "fr"), (100, 1_000))),
        {100: 20, 300: 10, 1_000: 3, 3_000: 2}, 3e-3, 5_500,
    ),
    "names": Setup(
        (Side("it", ("es", "fr", "pt"), (100, 300, 1_000, 2_650)), Side("ko", ("ja", "zh"), (100, 1_000))),
        {100: 20, 300: 10, 1_000: 5}, 3e-3, 2_650,
    ),
}  # fmt: skip
LAST = {"flickr8k": 1, "names": 3}
"""Passes where there are more pairs."""


class Bench:
    """One base model and its data."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load what is needed of all languages."""
        self.options, self.setup = options, SETUPS[options.data]
        self.encoder = load_encoder(options.model, device="cpu")
        self.teacher = Teacher(self.encoder, Cache(options.cache))
        self.base = base_lexicon(self.encoder)
        self.recipe = replace(pack_recipe(options.data if options.data == "flickr8k" else "pictoclip"),
                              learning_rate=options.rate or self.setup.rate)  # fmt: skip
        self.packs: dict[str, Any] = {}
        self.english: dict[str, float] = {}

    def corpus(self, language: str, split: str) -> Corpus:
        """Read a split of a language."""
        if self.options.data == "names":
            return read_captions(self.options.folder / f"{language}.{split}.tsv", language)
        dataset = DATASETS["flickr8k-multi"]
        vectors = read_image_vectors(Path(self.options.model) / "image_embeds.npy")
        return dataset.load(dataset.place(self.options.folder, vectors), language, split)

    def test(self, language: str) -> Examples:
        """One caption a picture."""
        return self.teacher.prepare(self.corpus(language, self.options.split).first_captions())

    def donor(self, language: str) -> Any:
        """The pack of another language, learnt from the usual start; the same for all that start from it."""
        if language not in self.packs:
            train = self.teacher.prepare(self.corpus(language, "train").sample(self.setup.donor_pairs))
            settings = replace(self.recipe, epochs=LAST[self.options.data])
            self.packs[language], _ = learn_pack(
                Polyglot(self.encoder, self.base),
                language,
                train,
                settings=settings,
                teacher=self.teacher,
                rows="float32",
            )
        return self.packs[language]

    def run(self, side: Side, pairs: int, start: str, seed: int, test: Examples) -> Run:
        """Learn one pack and measure it."""
        needs = "packs" in start
        polyglot = Polyglot(self.encoder, self.base, [self.donor(one) for one in side.donors] if needs else [])
        train = self.teacher.prepare(self.corpus(side.language, "train").sample(pairs))
        epochs = self.options.epochs or self.setup.epochs.get(pairs, LAST[self.options.data])
        settings = replace(self.recipe, seed=seed, epochs=epochs)
        words = grow_words(polyglot, train, settings)
        make: Start | str = VARIANTS.get(start, start)
        before = self.scores(start_words(words, make), test)
        pack, report = learn_pack(polyglot, side.language, train, settings=settings, teacher=self.teacher, start=make)
        after = Polyglot(self.encoder, self.base, [pack]).evaluate(test, language=side.language)
        return {
            "data": self.options.data, "language": side.language, "donors": list(side.donors) if needs else [],
            "pairs": len(train.texts), "start": start, "seed": seed, "split": self.options.split, "epochs": epochs,
            "rate": settings.learning_rate, "seconds": report.seconds,
            "before": before["img_r10"], "img_r10": after["img_r10"], "r_mean": after["r_mean"],
            "share": 100 * after["img_r10"] / self.english_score(test),
        }  # fmt: skip

    def scores(self, lexicon: Any, test: Examples) -> dict[str, float]:
        """Scores of rows as they are."""
        texts = Learnt(lexicon).encode(self.encoder, test.texts, test.language)
        return retrieval_scores(texts, test.images[:], test.owner)

    def english_score(self, test: Examples) -> float:
        """img_r10 of the base model with the English texts of the same captions."""
        if test.language not in self.english:
            found = retrieval_scores(test.teachers[:], test.images[:], test.owner)
            self.english[test.language] = found["img_r10"]
        return self.english[test.language]


def run_all(options: argparse.Namespace) -> None:
    """Run what is asked for; the file is written after each run."""
    bench = Bench(options)
    found: list[Run] = json.loads(options.out.read_text()) if options.out is not None and options.out.exists() else []
    for side in bench.setup.sides:
        if options.languages is not None and side.language not in options.languages.split(","):
            continue
        test = bench.test(side.language)
        for size in side.sizes if options.sizes is None else map(int, options.sizes.split(",")):
            for start in options.starts.split(","):
                for seed in map(int, options.seeds.split(",")):
                    run = bench.run(side, size, start, seed, test)
                    print(f"{run['language']} {run['pairs']:6,} {start:17} seed {seed}: before {run['before']:.1f}, "
                          f"img_r10 {run['img_r10']:.1f}, r_mean {run['r_mean']:.1f}, {run['seconds']:.0f} s",
                          flush=True)  # fmt: skip
                    key = (*(run[name] for name in KEYS), seed)
                    found = [one for one in found if (*(one[name] for name in KEYS), one["seed"]) != key] + [run]
                    if options.out is not None:
                        write_whole(options.out, json.dumps(found, indent=0) + "\n")
    show(found)


def show(runs: list[Run]) -> None:
    """Print a row for each language, size, rate and split, and a column for each start, mean and deviation."""
    rows: dict[tuple[Any, ...], dict[str, list[Run]]] = {}
    for run in runs:
        row = tuple(run[name] for name in ("split", "data", "language", "pairs", "rate"))
        rows.setdefault(row, {}).setdefault(run["start"], []).append(run)
    columns = list(dict.fromkeys(["random", "base", "pairs", "packs", *(run["start"] for run in runs)]))
    for split in ("test", "val"):
        shown = {row: cells for row, cells in sorted(rows.items()) if row[0] == split}
        names = [name for name in columns if any(name in cells for cells in shown.values())]
        if shown:
            print(f"\n{split}: img_r10 before -> after training (r_mean after)\n\n| data | language | pairs | rate | "
                  f"{' | '.join(names)} |\n|{'---|' * (4 + len(names))}")  # fmt: skip
        for (_, data, language, pairs, rate), cells in shown.items():
            texts = [_both(cells[name]) if name in cells else "" for name in names]
            print(f"| {data} | {language} | {pairs:,} | {rate:g} | {' | '.join(texts)} |")


def _both(runs: list[Run]) -> str:
    before, after, mean_recall = (_cell([run[name] for run in runs]) for name in ("before", "img_r10", "r_mean"))
    return f"{before.split(' ')[0]} -> {after} ({mean_recall})"


def fit(runs: list[Run]) -> None:
    """Fit share(n) of ``packs/curve.py`` to the means over the seeds, by least squares on a grid, and print them."""
    found: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for run in runs:
        usual = run["split"] == "test" and run["rate"] == SETUPS[run["data"]].rate
        if run["start"] in ("random", "pairs") and usual:
            name = run["start"], run["data"], run["language"]
            found.setdefault(name, {}).setdefault(run["pairs"], []).append(run["share"])
    for (start, data, language), unsorted in sorted(found.items()):
        if len(unsorted) < 3:
            continue
        points = dict(sorted(unsorted.items()))
        pairs = torch.tensor([*points], dtype=torch.float64)
        share = torch.tensor([mean(one) for one in points.values()], dtype=torch.float64)
        best: tuple[float, float, float, float] = (float("inf"), 0, 0, 0)
        for slope in torch.arange(0.3, 2.01, 0.02).tolist():
            for half in torch.logspace(1, 4, 301).tolist():
                shape = 1 / (1 + (half / pairs) ** slope)
                top = min(100.0, float((shape * share).sum() / shape.square().sum()))
                best = min(best, (float((top * shape - share).square().mean().sqrt()), top, half, slope))
        error, top, half, slope = best
        sizes = ", ".join(f"{one:,}" for one in points)
        print(
            f"{start}: Curve({f'{data} {language}'!r}, {top:.1f}, {half:.0f}, {slope:.2f}), off by {error:.1f}; {sizes}"
        )


def _cell(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("flickr8k", "names", "fit", "show"))
    parser.add_argument("folder", type=Path, help="of the data; a file of results to fit or to show")
    parser.add_argument("--model", default="pictoclip")
    parser.add_argument("--languages", default=None)
    parser.add_argument("--sizes", default=None)
    parser.add_argument("--starts", default="random,base,pairs,packs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--split", default="test", help="val, to choose settings with")
    parser.add_argument("--rate", type=float, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.data in ("fit", "show"):
        runs = json.loads(options.folder.read_text())
        show(runs) if options.data == "show" else fit(runs)
        return
    keep_freed_memory()
    run_all(options)


if __name__ == "__main__":
    main()
