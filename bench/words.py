"""What a language's own words are worth: how often a piece must occur, and what merges are learnt from.

    python bench/words.py flickr8k DATA/flickr8k-multi --model MODEL --languages zh,ar,de --out bench/results/words.json
    python bench/words.py names report/data --languages it,ko --sizes 100,300,1000,2650 --out bench/results/words.json
    python bench/words.py show bench/results/words.json           # prints the table of docs/tokenizers.md

DATA and MODEL as for ``table-methods-flickr8k.toml``; passes and rate as in ``warm.py``, of photographs the first
caption of each, three passes. Each run learns one pack with the settings ``min_count`` and ``merges_from`` and measures
the validation split, because settings are chosen by it. Runs are added to the file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from warm import Bench

from babelclip.data.examples import base_lexicon
from babelclip.files import write_whole
from babelclip.lexicon import Wish, tokenise
from babelclip.packs import Polyglot, learn_pack
from babelclip.training.allocator import keep_freed_memory

Run = dict[str, Any]
KEYS = ("data", "language", "pairs", "min_count", "merges_from", "seed")


def run_all(options: argparse.Namespace) -> None:
    """Run what is asked for; the file is written after each run."""
    found: list[Run] = json.loads(options.out.read_text()) if options.out.exists() else []
    bench = Bench(options)
    for language in options.languages.split(","):
        test, corpus = bench.test(language), bench.corpus(language, "train").first_captions()
        for size in map(int, options.sizes.split(",")):
            train = bench.teacher.prepare(corpus.sample(size))
            epochs = bench.setup.epochs.get(size, 3) if options.data == "names" else 3
            for words in options.words.split(","):
                merges_from, count = words.split()
                for seed in map(int, options.seeds.split(",")):
                    settings = replace(
                        bench.recipe, epochs=epochs, seed=seed, min_count=int(count), merges_from=merges_from
                    )
                    wish = Wish.of(settings)
                    run = {"data": options.data, "language": language, "pairs": len(train.texts), "seed": seed,
                           "min_count": wish.min_count, "merges_from": merges_from}  # fmt: skip
                    run |= measure(bench, language, train, test, settings)
                    found = [one for one in found if any(one[key] != run[key] for key in KEYS)] + [run]
                    write_whole(options.out, json.dumps(found, indent=0) + "\n")
                    print(
                        {key: round(one, 2) if isinstance(one, float) else one for key, one in run.items()}, flush=True
                    )
    show(found)


def measure(bench: Bench, language: str, train: Any, test: Any, settings: Any) -> Run:
    """Learn one pack; tokens of a text and of a held-out one, their share that training never saw, size and scores."""
    pack, report = learn_pack(
        Polyglot(bench.encoder, bench.base), language, train, settings=settings, teacher=bench.teacher
    )
    grown = base_lexicon(bench.encoder).copy()
    grown.complete_with(train.texts, Wish.of(settings), initialiser="normal", generator=torch.Generator())
    seen, held_out = (tokenise(grown.tokenizer(), one.texts) for one in (train, test))
    scores = Polyglot(bench.encoder, bench.base, [pack]).evaluate(test, language=language)
    return {
        "new_tokens": report.new_tokens, "rows": len(pack.rows), "seconds": report.seconds,
        "tokens": report.coverage.tokens_per_text, "held_out_tokens": len(held_out.ids) / len(test.texts),
        "never_seen": 1 - float(torch.isin(held_out.ids, seen.ids).double().mean()),
        "img_r10": scores["img_r10"], "r_mean": scores["r_mean"],
    }  # fmt: skip


def show(runs: list[Run]) -> None:
    """Print a row for each kind of words; means, and deviations of scores where there are several seeds."""
    rows: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        rows.setdefault(tuple(run[key] for key in KEYS[:-1]), []).append(run)
    print(
        "\n| data | language | pairs | merges from | min_count | rows | tokens a text, held out | never seen | img_r10 "
        f"| r_mean |\n|{'---|' * 10}"
    )
    for (data, language, pairs, count, merges_from), members in rows.items():
        cells = {key: [run[key] for run in members] for key in members[0] if key not in KEYS}
        texts = f"{mean(cells['tokens']):.1f}, {mean(cells['held_out_tokens']):.1f}"
        scores = [
            f"{mean(cells[key]):.1f}" + (f" ± {stdev(cells[key]):.1f}" if len(members) > 1 else "")
            for key in ("img_r10", "r_mean")
        ]
        print(f"| {data} | {language} | {pairs:,} | {merges_from} | {count} | {mean(cells['rows']):,.0f} | {texts} | "
              f"{100 * mean(cells['never_seen']):.1f} % | {' | '.join(scores)} |")  # fmt: skip


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("flickr8k", "names", "show"))
    parser.add_argument("folder", type=Path, help="of the data; a file of results to show")
    parser.add_argument("--model", default="pictoclip")
    parser.add_argument("--languages", default="zh")
    parser.add_argument("--sizes", default="6000")
    parser.add_argument("--words", default="letters 0,remains 0,remains 2,remains 5,remains 10")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/words.json"))
    options = parser.parse_args()
    if options.data == "show":
        show(json.loads(options.folder.read_text()))
        return
    options.split, options.rate, options.epochs = "val", None, None
    keep_freed_memory()
    run_all(options)


if __name__ == "__main__":
    main()
