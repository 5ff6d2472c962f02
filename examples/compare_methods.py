"""A small benchmark: two ways against forgetting, and none, on a stream of two languages: English, then Spanish.

python examples/compare_methods.py [FOLDER]   # FOLDER keeps what is written; a minute on one core

It shows how a run is made and read; after so little training the figures mean little. Whole runs: docs/benchmark.md.
"""

# %% Settings
import sys
import tempfile
from pathlib import Path

from babelclip.benchmarks import openmoji
from babelclip.benchmarks.plan import make_plan
from babelclip.benchmarks.prepare import Where
from babelclip.benchmarks.run import run_bench
from babelclip.report.page import write_page
from babelclip.report.sheets import language_sheet, summary_sheet

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
METHODS = ["cll", "cll+teir", "packs"]
NUM_TEXTS = 300  # of each language, drawn at random; the pictograms have 2,650

# %% The plan: what a TOML file for `babelclip bench run --config` says. Languages are learnt one after another.
plan = make_plan({
    "base": "pictoclip",
    "languages": ["en", "es"],
    "methods": METHODS,
    "train": {"dataset": "folder", "texts": NUM_TEXTS},
    "test": [{"dataset": "folder"}],
    "settings": {"epochs": 3},
})  # fmt: skip

# %% The data: a folder with LANGUAGE.SPLIT.tsv and pictures, here of pictograms without skin tones.
if not (FOLDER / "data").exists():
    openmoji.write_folder(FOLDER / "data", plan.languages)
(FOLDER / "folder").mkdir(exist_ok=True)
for file in [f"{language}.{split}.tsv" for language in plan.languages for split in ("train", "test")]:
    header, *lines = (FOLDER / "data" / file).read_text(encoding="utf-8").splitlines()
    rows = [f"../data/{line}" for line in lines if "skin tone" not in line]
    (FOLDER / "folder" / file).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

# %% Run. Interrupted, the same call goes on; finished streams are not run again.
where = Where(FOLDER, {"folder": FOLDER / "folder"}, device="cpu")
results = run_bench(plan, where, FOLDER / "runs")

# %% Read. AA: mean over the languages at the end; F: mean fall from a language's best; own: mean when just learnt.
print(summary_sheet(results.runs, ["img_r10"]).markdown())
print(language_sheet(results.runs, "img_r10").markdown())
for run in results.runs:
    first, second = (scores[0] for scores in run.scores["img_r10"])  # scores[i][j]: language j after task i
    untouched = run.initial["img_r10"][0]
    print(f"{run.method}: English {untouched:.1f} % untouched, {first:.1f} after its turn, {second:.1f} after Spanish")

# %% The same as a page with figures.
write_page(results, FOLDER / "report" / "index.html")
print(f"Report: {FOLDER / 'report' / 'index.html'}")
