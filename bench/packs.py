"""What packs cost: mixed languages against one, installing, loading, and rows in float16 and int8.

    python bench/packs.py report/data --out bench/results/packs.json   # after make demo

Packs are learnt from LANGUAGE.train.tsv and measured on LANGUAGE.test.tsv of the folder (img_r10, the gallery is all
its pictures). A mixed batch holds the test texts of all languages in turn, in one pass; a single one the same texts,
each language by itself. Times are the median of ``--repeats`` turns in which both are measured one after the other.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from babelclip.data import Cache, Examples, Teacher, read_captions
from babelclip.evaluation import retrieval_scores
from babelclip.files import write_whole
from babelclip.packs import Pack, Polyglot, install_pack, learn_pack, load_polyglot
from babelclip.packs.card import ROW_DTYPES
from babelclip.packs.container import zip_files
from babelclip.packs.quantise import pack_rows, unpack_rows
from babelclip.packs.store import pack_files
from babelclip.training.allocator import keep_freed_memory


def rounded(pack: Pack, dtype: str) -> Pack:
    """The same pack with its rows stored otherwise."""
    rows = unpack_rows(pack_rows(pack.rows, dtype), dtype)
    return replace(pack, rows=rows, card=pack.card.model_copy(update={"rows": dtype}))


def compare_batches(polyglot: Polyglot, tests: list[Examples], repeats: int) -> dict[str, float]:
    """Seconds of all test texts, mixed and language by language."""
    count = min(len(test.texts) for test in tests)
    mixed = [test.texts[number] for number in range(count) for test in tests]
    tags = [test.language for _ in range(count) for test in tests]
    seconds: dict[str, list[float]] = {"mixed": [], "single": []}
    for number in range(repeats + 1):
        started = time.perf_counter()
        polyglot.encode_texts(mixed, language=tags)
        middle = time.perf_counter()
        for test in tests:
            polyglot.encode_texts(test.texts[:count], language=test.language)
        if number:  # the first turn builds tokenizers
            seconds["mixed"].append(middle - started)
            seconds["single"].append(time.perf_counter() - middle)
    ratio = median(a / b for a, b in zip(seconds["mixed"], seconds["single"], strict=True))
    return {"texts": len(mixed), **{name: median(found) for name, found in seconds.items()}, "ratio": ratio}


def main() -> None:
    """Read the command line, learn, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--languages", default="de,fr,es,ru,zh,ar,fa")
    parser.add_argument("--base", default="pictoclip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    polyglot = load_polyglot(options.base, device="cpu")
    teacher = Teacher(polyglot.encoder, Cache(options.cache))
    tags = [tag for tag in options.languages.split(",") if tag != "en"]
    packs, tests = [], []
    for tag in tags:
        files = [options.data / f"{tag}.{part}.tsv" for part in ("train", "test")]
        train, test = (teacher.prepare(read_captions(file, tag)) for file in files)
        packs.append(learn_pack(polyglot, tag, train, rows="float32", teacher=teacher)[0])
        tests.append(test)
    result: dict[str, object] = {"base": options.base, "languages": tags}
    for dtype in ROW_DTYPES:
        stored = [rounded(pack, dtype) for pack in packs]
        ready = Polyglot(polyglot.encoder, polyglot.base, stored)
        scores = [ready.evaluate(test, language=test.language)["img_r10"] for test in tests]
        size = mean(len(zip_files(pack_files(pack))) for pack in stored) / 1e6
        result[dtype] = {"img_r10": mean(scores), "mb": size}
        print(f"{dtype}: img_r10 {mean(scores):.2f} on average over {len(tags)} languages, {size:.2f} MB a pack")
    ready = Polyglot(polyglot.encoder, polyglot.base, [rounded(pack, "float16") for pack in packs])
    routed = {test.language: ready.evaluate(test) for test in tests}
    plain = {test.language: ready.evaluate(test, language=test.language) for test in tests}
    unblended = {}
    for test in tests:
        vectors = ready.encode_texts(test.texts, blend=False)
        unblended[test.language] = retrieval_scores(vectors, test.images[:], test.owner)
    for tag in tags:
        print(f"{tag}: r_mean told {plain[tag]['r_mean']:.1f}, routed {routed[tag]['r_mean']:.1f}, without blending "
              f"{unblended[tag]['r_mean']:.1f}")  # fmt: skip
    result["r_mean"] = {tag: [plain[tag]["r_mean"], routed[tag]["r_mean"], unblended[tag]["r_mean"]] for tag in tags}
    found = compare_batches(ready, tests, options.repeats)
    result["batches"] = found
    print(f"{found['texts']:,} texts of {len(tags)} languages: mixed {found['mixed']:.2f} s, each by itself "
          f"{found['single']:.2f} s, ratio {found['ratio']:.2f}")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        for pack in ready.packs.values():
            install_pack(place, pack, polyglot.encoder)
        installed = time.perf_counter()
        load_polyglot(place, device="cpu")
        loaded = time.perf_counter() - installed
    result["install_s"], result["load_s"] = (installed - started) / len(tags), loaded
    print(f"installing a pack takes {1000 * (installed - started) / len(tags):.0f} ms, loading the base model and all "
          f"{len(tags)} packs {loaded:.2f} s")  # fmt: skip
    if options.out is not None:
        write_whole(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
