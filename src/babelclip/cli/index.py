"""``babelclip index``: nothing heavy is imported where nothing has changed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from babelclip.cli.console import console, note, program, progress_bars
from babelclip.cli.place import Place, load_model, model_of, place_of
from babelclip.encoders.pictures import SUFFIXES as PICTURES
from babelclip.encoders.videos import SUFFIXES as VIDEOS
from babelclip.errors import MissingExtraError
from babelclip.search.approximate import EXACT_UP_TO, WANTED
from babelclip.search.claim import check_model
from babelclip.search.index import index_folders
from babelclip.search.looking import Limits
from babelclip.search.open import open_store
from babelclip.search.outcome import Report
from babelclip.search.scan import scan
from babelclip.search.store import VectorStore

if TYPE_CHECKING:
    from babelclip.data import ImageVectors

SHOWN = 10
"""Reasons for skipping that are printed, most frequent first."""


def run_index(
    folders: Sequence[Path], place: Place, *, vectors: Path | None, limits: dict[str, int | None],
    workers: int | None, watch: bool, list_skipped: bool, as_json: bool,
) -> None:  # fmt: skip
    """Index folders, and tell what was done.

    Args:
        folders: of pictures and videos.
        place: index and model.
        vectors: of the pictures, given.
        limits: fields of ``Limits``; None for the usual one.
        workers: threads that open files.
        watch: go on until interrupted.
        list_skipped: print every skipped file.
        as_json: print JSON.
    """
    opened = open_store(place_of(place.store))
    about = opened.about()
    model = None if about is not None and place.model is None else model_of(opened, place)
    load = functools.cache(lambda: load_model(opened, place).encoder)
    if place.model is not None and about is not None:
        check_model(opened, about, load())  # a wrong model is refused, also where there is nothing to do
    usual = replace(Limits(), frames=about.frames) if about else Limits()
    chosen = replace(usual, **{name: value for name, value in limits.items() if value is not None})
    given = _read(vectors) if vectors else None

    def once() -> None:
        with progress_bars() as bars:
            report = index_folders(
                folders, opened, load, model=model, limits=chosen, vectors=given, workers=workers,
                progress=bars.rate, note=note,
            )  # fmt: skip
        if not (report.new or report.changed or report.moved or report.unchanged or report.skipped):
            kinds = " ".join(one.removeprefix(".") for one in (*PICTURES, *VIDEOS))
            note(f"no pictures or videos in {', '.join(map(str, folders))} ({kinds})")
        if as_json:
            console.print_json(json.dumps(_as_json(report, opened)))
        else:
            _tell(report, opened, list_skipped, place.store)

    if watch:
        _follow(folders, once)
    else:
        once()
    opened.close()


def _read(vectors: Path) -> ImageVectors:
    from babelclip.data import read_image_vectors

    return read_image_vectors(vectors)


def _tell(report: Report, store: VectorStore, list_skipped: bool, told: str | None) -> None:
    """Print what a run did; ``told``: the place as the user wrote it."""
    parts = [
        (report.new, "new"), (report.changed, "changed"), (report.moved, "moved"), (report.removed, "removed"),
        (report.unchanged, "unchanged"), (len(report.skipped), "skipped"), (report.others, "of other kinds"),
    ]  # fmt: skip
    console.print("Files: " + ", ".join(f"{count:,} {what}" for count, what in parts if count or what == "new"))
    speed = f", {report.pictures / report.seconds:,.0f} pictures/s" if report.pictures else ""
    console.print(f"{len(store):,} pictures and moments in {store.place}; {report.seconds:.1f} s{speed}")
    if report.index is not None:
        built = "built now" if report.rebuilt else "built before"
        console.print(
            f"Approximate index {report.index.kind}, {built} over {report.index.rows:,} rows: recall@10 "
            f"{report.index.recall:.3f} of exact search ({report.index.queries} queries)"
        )
    elif len(store) > EXACT_UP_TO:
        console.print(f"Search is exact, and slow: no approximate index reached a recall@10 of {WANTED}")
    if list_skipped:
        for one in report.skipped:
            console.print(f"skipped {one.file.path}: {one.reason}")
    elif report.skipped:
        reasons = report.reasons.most_common()
        for reason, count in reasons[:SHOWN]:
            first = next(one.file.path for one in report.skipped if one.reason == reason)
            console.print(f"  skipped {count:,}: {reason} (first {first})")
        left = sum(count for _, count in reasons[SHOWN:])
        if left:
            console.print(f"  skipped {left:,} more for {len(reasons) - SHOWN:,} other reasons (--list-skipped)")
    if len(store):
        where = f" --store {quote(told)}" if told else ""
        console.print(f'Next:\n  {program()} search "..."{where}\n  {program()} serve{where}')


def _as_json(report: Report, store: VectorStore) -> dict[str, object]:
    """What a run did, for programs."""
    skipped = [{"path": one.file.path, "reason": one.reason} for one in report.skipped]
    index = report.index.model_dump() if report.index else None
    return {**asdict(report), "skipped": skipped, "index": index, "items": len(store), "store": store.place}


def _follow(folders: Sequence[Path], once: Callable[[], None]) -> None:
    """Run, and again whenever something in the folders has changed, until interrupted.

    Watching begins before the first run, so that nothing is missed between the two.
    """
    try:
        from watchfiles import watch
    except ImportError as error:
        raise MissingExtraError("watchfiles", "search", "Following folders") from error
    scan(folders)  # names a folder that is not there
    begun = False
    for changes in watch(*folders, step=200, rust_timeout=300, yield_on_timeout=True, raise_interrupt=False):
        if changes or not begun:
            once()
        if not begun:
            console.print("Watching; Ctrl-C ends it.")
        begun = True
