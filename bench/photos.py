"""8,091 photographs: indexed once, again, with given vectors; and found by held-out captions as the benchmark says.

    python bench/photos.py IMAGES DATA MODEL --out bench/results/photos.json

IMAGES is the folder of Flickr8k's photographs, DATA the data set ``flickr8k-multi`` (babelclip data show
flickr8k-multi), MODEL a ``CLIPModel`` folder with ``image_embeds.npy`` and ``image_ids.txt``.

1. ``babelclip index IMAGES`` as a whole process: MODEL's own image tower; then again, with nothing changed; then with
   MODEL's given vectors.
2. Packs of de, zh, ar and fr are learnt from the first captions of the training photographs, three passes. The 1,000
   test photographs are indexed alone (by their names, with the given vectors), and every first test caption is searched
   for with ``Searcher``, ten results; the share that finds its photograph must be img_r10 of ``Polyglot.evaluate`` on
   the same vectors, told the language and finding it out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from babelclip.benchmarks import DATASETS
from babelclip.data import Teacher, read_image_vectors
from babelclip.packs import Polyglot, learn_pack, load_polyglot, pack_recipe
from babelclip.report.terminal import new_table
from babelclip.search.index import index_folders
from babelclip.search.open import open_store
from babelclip.search.query import Query, Searcher

LANGUAGES = ("de", "zh", "ar", "fr")


def index_time(images: Path, store: Path, model: str, *more: str | Path) -> tuple[float, dict[str, object]]:
    """Seconds of ``babelclip index`` as a process, and what it says it did."""
    command = [sys.executable, "-m", "babelclip", "index", images, "--store", store, "--json", *more]
    command += ["--model", model] if not store.exists() else []
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, json.loads(done.stdout)


def teach(model: Path, data: Path) -> tuple[Polyglot, dict[str, object]]:
    """A polyglot of all languages, and their test examples."""
    dataset = DATASETS["flickr8k-multi"]
    place = dataset.place(data, read_image_vectors(model / "image_embeds.npy"))
    polyglot = load_polyglot(model, device="cpu")
    teacher, tests = Teacher(polyglot.encoder), {}
    settings = replace(pack_recipe(polyglot.encoder.name), epochs=3, learning_rate=3e-3)
    for language in LANGUAGES:
        train = teacher.prepare(dataset.load(place, language, "train").first_captions())
        pack, _ = learn_pack(polyglot, language, train, settings=settings, teacher=teacher)
        polyglot = polyglot.install(pack)
        tests[language] = teacher.prepare(dataset.load(place, language, "test").first_captions())
    return polyglot, tests


def found(searcher: Searcher, examples: object, names: list[str], language: str | None) -> float:
    """Percent of texts whose own photograph is among ten results."""
    queries = [Query(text, language, k=10) for text in examples.texts]
    answers = [
        one for start in range(0, len(queries), 256) for one in searcher.search_all(queries[start : start + 256])
    ]
    hits = [
        names[owner] in {Path(hit.path).name for hit in answer.hits}
        for owner, answer in zip(examples.owner.tolist(), answers, strict=True)
    ]
    return 100 * sum(hits) / len(hits)


def measure(images: Path, data: Path, model: Path) -> dict[str, object]:
    """Both parts."""
    result: dict[str, object] = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        own, again = index_time(images, folder / "own", str(model)), index_time(images, folder / "own", str(model))
        given = index_time(images, folder / "given", str(model), "--vectors", model / "image_embeds.npy")
        result["index"] = {
            name: {"process_s": one[0], "run_s": one[1]["seconds"], "new": one[1]["new"], "items": one[1]["items"]}
            for name, one in (("own tower", own), ("again", again), ("given vectors", given))
        }
        polyglot, tests = teach(model, data)
        vectors = read_image_vectors(model / "image_embeds.npy")
        result["img_r10"] = {}
        for language in LANGUAGES:
            examples = tests[language]
            gallery = folder / language
            gallery.mkdir()
            names = [Path(name).name for name in examples.files]
            for name in names:
                (gallery / name).symlink_to((images / name).resolve())
            store = open_store(str(folder / f"index-{language}"))
            index_folders([gallery], store, lambda: polyglot.encoder, vectors=vectors, note=lambda _: None)
            searcher = Searcher(polyglot, store)
            result["img_r10"][language] = {
                "photographs": len(store), "texts": len(examples.texts),
                "told": found(searcher, examples, names, language), "routed": found(searcher, examples, names, None),
                "benchmark told": polyglot.evaluate(examples, language=language)["img_r10"],
                "benchmark routed": polyglot.evaluate(examples)["img_r10"],
            }  # fmt: skip
            store.close()
    return result


def show(result: dict[str, object]) -> None:
    """Print everything."""
    console = Console(soft_wrap=True)
    table = new_table("Flickr8k's photographs: babelclip index as a whole process")
    for name in ("run", "photographs", "seconds", "photographs/s"):
        table.add_column(name)
    for name, one in result["index"].items():
        rate = f"{one['new'] / one['run_s']:,.0f}" if one["new"] else ""
        table.add_row(name, f"{one['items']:,}", f"{one['process_s']:.1f}", rate)
    console.print(table)
    table = new_table("img_r10 in percent: search against the benchmark, same vectors")
    for name in ("language", "photographs", "search, told", "benchmark, told", "search, routed", "benchmark, routed"):
        table.add_column(name)
    for language, one in result["img_r10"].items():
        keys = ("told", "benchmark told", "routed", "benchmark routed")
        table.add_row(language, f"{one['photographs']:,}", *(f"{one[key]:.2f}" for key in keys))
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    measured = measure(options.images, options.data, options.model)
    show(measured)
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1) + "\n")
