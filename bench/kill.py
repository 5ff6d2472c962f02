"""Kill the indexer and the server at random moments, and count what is lost: nothing may be.

    python bench/kill.py                           # 20 kills each; about 6 minutes, writes bench/results/kill.json
    python bench/kill.py --rounds 3 --seed 1

The indexer is killed within two seconds of a write; what it had written is compared before and after. The server is
killed within two seconds, while two clients search and a third installs packs of two languages over and over; every
pack that it said was installed is compared with its checksum afterwards. The packs are quickly learnt ones.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from babelclip import TaskSettings
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DEFAULT_MODEL, load_encoder
from babelclip.packs import Polyglot, learn_pack, save_pack
from babelclip.packs.installed import begin_folder
from babelclip.report.terminal import new_table

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from serving import BABELCLIP, Kills, count_rows, files_of, kill_index, kill_server, still_works

LANGUAGES, TEXTS, SECONDS = ("de", "fr"), 200, 2.0


def kill_indexers(images: Path, work: Path, rounds: int, chance: random.Random) -> dict[str, Any]:
    """Kill indexers; a new index is begun where one is complete."""
    number, known, lost, done, rows = 0, set(), 0, 0, []
    total = sum(file.suffix == ".png" for file in images.iterdir())
    for _ in range(rounds):
        store = str(work / f"index{number}")
        kill_index(images, store, DEFAULT_MODEL, chance, SECONDS)
        found = files_of(store) if count_rows(store) else set()
        lost += len(known - found)
        rows.append(count_rows(store))
        known = found
        if len(found) >= total:
            number, known, done = number + 1, set(), done + 1
    store = str(work / f"index{number}")
    subprocess.run([*BABELCLIP, "index", images, "--store", store, "--model", DEFAULT_MODEL], check=True)
    return {"kills": rounds, "rows_after_each": rows, "lost": lost, "complete_on_the_way": done, "files": total,
            "rows_at_the_end": count_rows(store), "store": store}  # fmt: skip


def learn(captions: Path, work: Path) -> list[Path]:
    """Packs of a few texts."""
    encoder = load_encoder(DEFAULT_MODEL, device="cpu")
    begin_folder(work / "packs", encoder)
    (work / "images").symlink_to((captions / "images").resolve())
    files = []
    for tag in LANGUAGES:
        lines = (captions / f"{tag}.train.tsv").read_text(encoding="utf-8").splitlines()[: TEXTS + 1]
        (work / f"{tag}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        pack, _ = learn_pack(
            Polyglot(encoder, base_lexicon(encoder)), tag, work / f"{tag}.tsv",
            settings=TaskSettings(vocab_size=500, batch_size=32, epochs=1),
        )  # fmt: skip
        files.append(work / f"{tag}.babelpack")
        save_pack(pack, files[-1])
    return files


def main() -> None:
    """Kill, print a table, write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("report/data"), help="of the demo: images/ and captions")
    parser.add_argument("--rounds", type=int, default=20, help="kills of each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=Path("bench/results/kill.json"))
    given = parser.parse_args()
    work, chance, started = Path(tempfile.mkdtemp(prefix="kill-")), random.Random(given.seed), time.monotonic()
    try:
        indexer = kill_indexers(given.data / "images", work, given.rounds, chance)
        store, told = indexer.pop("store"), Kills()
        files = learn(given.data, work)
        for _ in range(given.rounds):
            kill_server(store, work / "packs", files, work / "log", chance, SECONDS, told)
        works = still_works(store, work / "packs")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    server = {"kills": given.rounds, **asdict(told), "every_language_finds_something": works}
    results = {"indexer": indexer, "server": server, "cores": os.cpu_count(), "seconds": time.monotonic() - started,
               "load_average": round(os.getloadavg()[0], 2)}  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    table = new_table(f"{given.rounds} kills each, seed {given.seed}, {results['seconds']:.0f} s")
    for column in ("killed", "before that", "lost", "afterwards"):
        table.add_column(column)
    began = sum(rows > 0 for rows in indexer["rows_after_each"])
    table.add_row("indexer", f"{began} times rows were there", str(indexer["lost"]),
                  f"{indexer['rows_at_the_end']:,} rows of {indexer['files']:,} files")  # fmt: skip
    table.add_row("server", f"{told.answers:,} answers, {told.installed:,} packs installed, {len(told.wrong)} wrong",
                  str(len(told.lost)), "every language searches" if works else "does not search")  # fmt: skip
    Console(width=150, highlight=False).print(table)
    print(f"written to {given.out}")
    if indexer["lost"] or told.lost or told.wrong or not works or indexer["rows_at_the_end"] != indexer["files"]:
        raise SystemExit("something was lost")


if __name__ == "__main__":
    main()
