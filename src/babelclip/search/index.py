"""Bring an index up to date with some folders: new, changed, moved and deleted files, and nothing twice.

    scan            what lies there now, against what the store remembers (path, size and time of each file)
    hash            of new and changed files; a content that the store knows gives its rows without being opened
    look            decode, prepare for the image tower, make thumbnails: threads, ahead of the tower
    encode          the image tower, on as many pictures and frames as are ready
    put             rows of whole files, every ``BATCH`` pictures or ``SECONDS``

Killed at any point, the next run finds what was put and goes on.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from babelclip.errors import DataError, MissingExtraError
from babelclip.files import file_state
from babelclip.search.approximate import check, fit
from babelclip.search.claim import check_frames, check_vectors, claim, note_reader, remember_model
from babelclip.search.given import ids_of
from babelclip.search.items import File, Item, Skipped
from babelclip.search.looking import (
    NEEDS,
    TOO_LARGE,
    UNREADABLE,
    Limits,
    Look,
    any_size,
    hash_file,
    look_at,
    reason_of,
)
from babelclip.search.outcome import Report
from babelclip.search.scan import Scan, scan
from babelclip.search.store import VectorStore

if TYPE_CHECKING:
    from babelclip.data import ImageVectors
    from babelclip.encoders import DualEncoder
    from babelclip.encoders.base import Progress

BATCH, SECONDS, AHEAD = 64, 5.0, 32
"""Pictures through the tower at once; how long rows wait to be written; files opened ahead of the tower."""

NO_VECTOR = "no vector in"
AGAIN = (TOO_LARGE, UNREADABLE, NO_VECTOR, *NEEDS)
"""How reasons begin that lie with the settings or this machine and not with the file: it is tried again in each run."""


def index_folders(
    folders: Sequence[Path], store: VectorStore, load: Callable[[], DualEncoder], *, model: str | None = None,
    limits: Limits | None = None, vectors: ImageVectors | None = None, workers: int | None = None,
    progress: Callable[[str], Progress] | None = None, note: Callable[[str], None] = print,
) -> Report:  # fmt: skip
    """Index pictures and videos in folders and all folders in them.

    Args:
        folders: where they lie. What the store knows of files elsewhere stays.
        store: where the rows go.
        load: loads the base model; called where there is something to look at. A store is of one base model.
        model: what a later search is to load: a base model or a folder of packs; by default what it was before, at
            first the encoder's name.
        limits: what is too large to be opened, and how many frames stand for a video.
        vectors: of the pictures, by their paths from the folder or their names, instead of the image tower's. Pictures
            that are in the index already keep theirs, which is told.
        workers: threads that open files; by default one a core.
        progress: makes a callback for a line of text.
        note: told what a user should know.

    Raises:
        DataError: a folder is not there, or an id of the given vectors fits several files.
        SettingError: the given vectors are not as wide as the model's, or another process writes into the store.
        FormatError: the store is of another base model.
        BabelclipError: the store cannot be reached or written to.
    """
    started, limits = time.perf_counter(), limits or Limits()
    found = scan(folders)
    about = store.about()
    if about is not None:
        check_frames(store, about, limits.frames)

    @functools.cache
    def load_once() -> DualEncoder:
        loaded = load()
        if vectors is not None:
            check_vectors(vectors, loaded)
        claim(store, loaded, model=model, frames=limits.frames)
        return loaded

    lock = threading.Lock()

    def encoder() -> DualEncoder:
        with lock:  # whichever thread wants it first
            return load_once()

    if about is None or model not in (None, about.model):
        encoder()
    with store.writing(), any_size():
        if model is not None:
            remember_model(store, model, note)
        run = _Run(store, encoder, limits, vectors, found, progress or (lambda _: lambda *_: None))
        report = run.run(workers or os.cpu_count() or 1)
        if report.new or report.changed or report.moved or report.removed:
            store.tidy()
            report.rebuilt = _refit(store)
    about = store.about()
    report.index = about.index if about else None
    report.seconds = time.perf_counter() - started
    if vectors is not None and report.kept:
        note(
            f"given vectors that were not used: {report.kept:,}; those pictures are in the index already and keep "
            f"their vectors (a new --store takes all that are in {vectors.file})"
        )
    if about is not None and report.pictures:
        note_reader(about, report.pictures, note)
    if report.incomplete:
        count, first = len(report.incomplete), report.incomplete[0]
        note(f"cut-off or damaged videos: {count:,}, first {first}; the frames that can be read are used")
    return report


def _refit(store: VectorStore) -> bool:
    """See to it that the approximate index is there where one is wanted, and good; returns whether it was built."""
    about = store.about()
    before = about.index if about else None
    index = fit(store)
    if index is not None and index == before:
        index = check(store)
    return index is not None and (before is None or index.seconds != before.seconds)


@dataclass
class _Run:
    """One run over some folders."""

    store: VectorStore
    encoder: Callable[[], DualEncoder]
    limits: Limits
    vectors: ImageVectors | None
    scan: Scan
    progress: Callable[[str], Progress]

    def run(self, workers: int) -> Report:
        """Compare, work, write."""
        report = self.report = Report()
        self._known = {file.path: file for file in self.store.files()}
        self._by_content = {file.content: file.path for file in self._known.values()}
        folders = [folder.as_posix() for folder in self.scan.folders]
        before = {one.file.path: one for one in self.store.skipped(folders)}
        files = list(self.scan)
        here, todo = {file.path for file in files}, []
        self._ids = {} if self.vectors is None else ids_of(files, self.scan.folders, self.vectors)
        for file in files:
            known, skipped = self._known.get(file.path), before.get(file.path)
            if known is not None and _same(known, file):
                report.unchanged += 1
                report.kept += file.path in self._ids
            elif skipped is not None and _same(skipped.file, file) and not skipped.reason.startswith(AGAIN):
                report.skipped.append(skipped)
            else:
                todo.append(file)
        report.others = self.scan.others
        missing = (path for path in self._known if path not in here and _lies_in(path, folders))
        gone = {path for path in missing if not self.scan.may_be_there(path)}
        self._gone_contents = {self._known[path].content for path in gone}
        self._work(todo, workers)
        now = {one.file.path for one in self.scan.skipped}
        report.skipped += self.scan.skipped
        report.removed = len(gone) - report.moved
        forgotten = [path for path in before if path not in here and path not in now]
        self.store.remove([*gone, *forgotten])
        kept = self._known.keys() - gone  # also behind links that lead nowhere today
        fresh = [one for one in self.scan.skipped if before.get(one.file.path) != one and one.file.path not in kept]
        if fresh:
            self.store.put([], fresh)
        return report

    def _work(self, todo: list[File], workers: int) -> None:
        """Take files in their order; threads look ahead."""
        if not todo:
            return
        if self.vectors is not None:
            self.encoder()  # says whether they are of its width; nothing else would ask for it
        bar = self.progress("indexing")
        waiting: list[Look] = []
        skipped: list[Skipped] = []
        written = time.monotonic()
        for done, (file, look) in enumerate(self._look_ahead(todo, workers), 1):
            if isinstance(look, Look):
                waiting.append(look)
            elif isinstance(look, str):
                skipped.append(Skipped(file, look))
            late = time.monotonic() - written > SECONDS
            if sum(len(one.moments) for one in waiting) >= BATCH or late or len(skipped) >= BATCH or done == len(todo):
                self._put(waiting, skipped)
                waiting, skipped, written = [], [], time.monotonic()
                bar(done, len(todo))

    def _look_ahead(self, todo: list[File], workers: int) -> Iterator[tuple[File, Look | str | None]]:
        """Yield each file with what was seen, the reason why it is skipped, or None where its rows were copied."""
        with ThreadPoolExecutor(workers, thread_name_prefix="look") as pool:
            ahead: deque[tuple[File, Future[Look | File | str]]] = deque()
            try:
                for file in todo:
                    ahead.append((file, pool.submit(self._look, file)))
                    if len(ahead) >= AHEAD:
                        yield self._take(*ahead.popleft())
                while ahead:
                    yield self._take(*ahead.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _look(self, file: File) -> Look | File | str:
        """In a thread: what is seen of a file; only its hash, where the store knows the content; why it is skipped."""
        try:
            file = hash_file(file, self.limits)
            if file.content in self._by_content:
                return file
            return self._open(file)
        except (DataError, MissingExtraError) as error:
            return reason_of(error)
        except MemoryError:
            return "too large for this machine's memory"

    def _open(self, file: File) -> Look:
        return look_at(file, self.limits, None if self.vectors is not None else self.encoder)

    def _take(self, file: File, future: Future[Look | File | str]) -> tuple[File, Look | str | None]:
        look = future.result()
        if isinstance(look, str):
            return file, look
        seen = look.file if isinstance(look, Look) else look
        if file_state(Path(file.path)) != (file.bytes, file.modified):
            return file, "changed while it was read; the next run reads it again"
        if isinstance(look, Look):
            return file, look
        source = self._by_content.get(seen.content)
        if source is None:  # its file has changed since the thread asked
            try:
                return file, self._open(seen)
            except (DataError, MissingExtraError) as error:
                return file, reason_of(error)
        self.store.copy(source, seen)
        self.report.kept += seen.path in self._ids
        self._settle(seen)
        return file, None

    def _settle(self, file: File) -> None:
        """Remember that a file has other rows now."""
        old = self._forget(file)
        self._by_content.setdefault(file.content, file.path)
        if old is not None:
            self.report.changed += 1
        elif file.content in self._gone_contents:
            self._gone_contents.discard(file.content)
            self.report.moved += 1
        else:
            self.report.new += 1

    def _forget(self, file: File) -> File | None:
        """Return a file as it was in the store; its rows of then are replaced or deleted, and no longer copied."""
        old = self._known.get(file.path)
        if old is not None and self._by_content.get(old.content) == old.path:
            del self._by_content[old.content]
        return old

    def _put(self, looks: list[Look], skipped: list[Skipped]) -> None:
        """Encode what is waiting and write it."""
        given = self.vectors
        found = self._encode(looks) if given is None else [self._given(look, given) for look in looks]
        items: list[Item] = []
        for look, rows in zip(looks, found, strict=True):
            if rows is None:
                skipped.append(Skipped(look.file, f"{NO_VECTOR} {given.file.name if given else ''}"))
                continue
            self._settle(look.file)
            if look.incomplete:
                self.report.incomplete.append(look.file.path)
            items += [
                Item(look.file, look.kind, moment, look.taken, *look.size, look.seconds, row, thumbnail)
                for moment, row, thumbnail in zip(look.moments, rows, look.thumbnails, strict=True)
            ]
        for one in skipped:
            self._forget(one.file)
        self.report.skipped += skipped
        if items or skipped:
            self.store.put(items, skipped)

    def _encode(self, looks: list[Look]) -> list[NDArray[np.float32] | None]:
        """(F, dim) unit vectors of each file."""
        import torch  # where nothing has changed it is not needed, and importing it takes longer than all else
        from torch.nn.functional import normalize

        if not looks:
            return []
        pixels = torch.cat([look.pixels for look in looks if look.pixels is not None])
        vectors = torch.cat([self.encoder().encode_pixels(part) for part in pixels.split(BATCH)])
        self.report.pictures += len(vectors)
        parts = normalize(vectors, dim=1).split([len(look.moments) for look in looks])
        return [part.numpy() for part in parts]

    def _given(self, look: Look, vectors: ImageVectors) -> NDArray[np.float32] | None:
        """(1, dim) unit vector of a picture; None where there is none."""
        from torch.nn.functional import normalize

        id = self._ids.get(look.file.path)
        if id is None or len(look.moments) != 1:
            return None
        return normalize(vectors.features([Path(id)])[:].float(), dim=1).numpy()


def _same(known: File, file: File) -> bool:
    return (known.bytes, known.modified) == (file.bytes, file.modified)


def _lies_in(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)
