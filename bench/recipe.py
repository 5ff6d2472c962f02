"""Score a stream on the VALIDATION split of the built-in data: what dev/LOG.md's choices of settings are based on.

python bench/recipe.py                                        # the recipe as it is; about 2 minutes on 2 cores
python bench/recipe.py --set batch_size=128 --methods cll+teir
python bench/recipe.py --languages en,de,fr --set vocab_size=4000
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import babelclip
from babelclip.benchmarks import openmoji
from babelclip.config import PICTOCLIP, change_settings
from babelclip.continual import Gallery, Stage, run_stream

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", default="en,de,fr,zh,ru,es,ar")
    parser.add_argument("--methods", default="cll,cll+teir")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes")
    arguments = parser.parse_args()
    languages = arguments.languages.split(",")
    settings = change_settings(PICTOCLIP, arguments.changes)
    student = babelclip.load()
    with tempfile.TemporaryDirectory() as folder:
        openmoji.write_folder(Path(folder), languages)
        read = {
            tag: [student.examples(tag, Path(folder) / f"{tag}.{split}.tsv") for split in ("train", "val")]
            for tag in languages
        }
        stages = [Stage(train, [Gallery("val", held_out)]) for train, held_out in read.values()]
        for method in arguments.methods.split(","):
            run = run_stream(student, stages, method=method, settings=settings).runs[0]
            for metric in ("img_r1", "img_r10"):
                shown = ", ".join(f"{key} {value:.1f}" for key, value in run.summary[metric].items())
                print(f"{run.method} {metric}: {shown}; training {run.cost.train_s:.1f} s", flush=True)
