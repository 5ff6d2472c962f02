"""Every store keeps the same promises: what is put is found, exactly, by every process, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babelclip.errors import DataError, SettingError, UnknownNameError
from babelclip.search.items import Filter, Skipped
from babelclip.search.open import open_store
from babelclip.search.store import Approximate
from stores import DIM, about, file, fits, library, picture, queries, same, slow_search, unit, video

HOSTILE = (
    "/p/it's.jpg", "/p/''.jpg", '/p/"quoted".jpg', "/p/100%.jpg", "/p/a_b.jpg", "/p/aXb.jpg", "/p/back\\slash.jpg",
    "/p/new\nline.jpg", "/p/tab\t.jpg", "/p/ü 写真 🐕.jpg", "/p/-- ; DROP TABLE items.jpg", "/p/$1 {x} %s.jpg",
    "/p/e\u0301.jpg", "/p/\xe9.jpg",
)  # fmt: skip


@pytest.fixture
def another(store, place):
    """The same store, as another process would open it."""
    with closing(open_store(place)) as opened:
        yield opened


@pytest.fixture
def full(store):
    """A store with a library in it."""
    store.put(library())
    return store


def test_before_anything_was_written_there_is_nothing(place):
    store = open_store(place)
    assert store.about() is None
    assert len(store) == 0
    assert list(store.files()) == list(store.skipped()) == []
    assert store.thumbnail("00") is store.path_of("00") is None
    store.tidy()
    store.drop()
    with pytest.raises(SettingError, match="no index was begun here"):
        store.put(library(3, 0))
    with pytest.raises(SettingError, match="no index was begun here"):
        store.search(queries(1), 3)
    store.close()


def test_an_empty_store_finds_nothing(store):
    assert store.search(queries(2), 3) == [[], []]
    assert store.search(queries(1), 3) == [[]]
    assert store.search(queries(0), 3) == []
    assert store.sample(5).shape == store.vectors([]).shape == (0, DIM)
    assert len(store) == 0
    store.tidy()
    store.put([])


def test_what_a_store_says_of_itself_is_kept(store, another):
    index = Approximate(kind="hnsw", rows=3, effort=40, recall=0.97, queries=10, seconds=1.5)
    store.write_about(about(model="other", index=index))
    assert another.about() == about(model="other", index=index)


@pytest.mark.parametrize("count", [1, 5, 70])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_search_equals_sorting_everything(full, k, count):
    asked = queries(count)
    assert same(full.search(asked, k), slow_search(library(), asked, k))
    assert same(full.search(asked, k, exact=True), slow_search(library(), asked, k))


@pytest.mark.parametrize(
    "where",
    [
        Filter(),
        Filter(folders=("/photos/a",)),
        Filter(folders=("/photos/a/", "/videos/2.mp4")),
        Filter(folders=("/",)),
        Filter(folders=("/photos/",), kind="video"),
        Filter(folders=("/photo",)),
        Filter(since=1.5e9 + 10, before=1.5e9 + 20),
        Filter(since=1.6e9 + 4),
        Filter(before=1.5e9 + 0.5),
        Filter(since=float("-inf"), before=float("inf")),
        Filter(since=1600000000.5),
        Filter(kind="video"),
        Filter(("/photos/a", "/videos"), 1.5e9 + 30, 1.6e9 + 2, "picture"),
    ],
)
def test_filters_are_applied_before_the_k_are_chosen(full, where):
    assert same(full.search(queries(), 7, where), slow_search(library(), queries(), 7, where))


def test_hits_say_what_the_rows_are(full):
    item = next(item for item in library() if item.kind == "video" and item.moment == 4.0)
    (hit,) = full.search(item.vector[None], 1)[0]
    assert (hit.id, hit.path, hit.kind, hit.moment) == (item.id, item.file.path, "video", 4.0)
    assert (hit.taken, hit.width, hit.height, hit.seconds) == (item.taken, 64, 48, 99.5)
    assert hit.score == pytest.approx(1, abs=1e-6)
    assert full.thumbnail(item.id) == item.thumbnail
    assert full.path_of(item.id) == item.file.path
    assert full.thumbnail("no such row") is full.path_of("no such row") is None


def test_equal_rows_come_by_id_wherever_k_cuts(store):
    rows = [picture(f"/same/{i}.jpg", unit(np.ones(DIM))) for i in range(60)]
    rows += [picture(f"/near/{i}.jpg", unit(np.arange(DIM) + i)) for i in range(10)]
    store.put(rows[::-1])
    asked = np.stack([unit(np.ones(DIM)), unit(np.arange(DIM))])
    for k in (1, 3, 15, 59, 61, 70):
        assert [hit.id for hit in store.search(asked, k)[0]] == [id for id, _ in slow_search(rows, asked, k)[0]]


def test_files_and_what_was_skipped_are_listed_once(full):
    broken = [
        Skipped(file("/photos/a/broken.jpg", ""), "cannot be read (it's cut)"),
        Skipped(file("/x.gif"), "100 %\n"),
    ]
    full.put([], broken)
    assert sorted(full.files(), key=str) == sorted({item.file for item in library()}, key=str)
    assert {one.path for one in full.files(["/photos/b", "/videos/0.mp4"])} == {
        item.file.path for item in library() if fits(item, Filter(folders=("/photos/b", "/videos/0.mp4")))
    }
    assert sorted(full.skipped(), key=str) == sorted(broken, key=str)
    assert list(full.skipped(["/photos"])) == broken[:1]


def test_files_are_replaced_with_all_their_rows(full):
    changed = picture("/photos/a/000.jpg", queries(1)[0], "new")
    new = [*video("/videos/1.mp4", queries(2), "new"), changed, *library(200, 0)[190:]]
    full.put(new)
    gone = {"/videos/1.mp4", "/photos/a/000.jpg"}
    left = [item for item in library() if item.file.path not in gone] + new
    assert len(full) == len(left)
    assert same(full.search(queries(), 400), slow_search(left, queries(), 400))
    assert {one.content for one in full.files(sorted(gone))} == {"new"}
    full.put(new)
    assert len(full) == len(left)


def test_a_file_is_indexed_or_skipped_never_both(full):
    full.put([], [Skipped(file("/videos/1.mp4", "cut"), "damaged")])
    assert [one.reason for one in full.skipped()] == ["damaged"]
    assert not list(full.files(["/videos/1.mp4"]))
    full.put([], [Skipped(file("/videos/1.mp4", "cut"), "still damaged")])
    assert [one.reason for one in full.skipped()] == ["still damaged"]
    full.put(video("/videos/1.mp4", queries(3)))
    assert not list(full.skipped())
    assert len(list(full.files(["/videos/1.mp4"]))) == 1


def test_a_copy_has_the_rows_of_its_source(full):
    target = file("/elsewhere/it's.mp4", f"{1002:064x}", 7)
    full.put([], [Skipped(target, "was damaged")])
    full.copy("/videos/2.mp4", target)
    full.copy("/videos/2.mp4", target)
    source = [item for item in library() if item.file.path == "/videos/2.mp4"]
    expected = [replace(item, file=target) for item in source]
    assert same(full.search(queries(), 200), slow_search(library() + expected, queries(), 200))
    assert list(full.files(["/elsewhere"])) == [target]
    assert not list(full.skipped())
    assert [full.thumbnail(item.id) for item in expected] == [item.thumbnail for item in source]
    assert {hit.taken for hit in full.search(queries(1), 9, Filter(folders=("/elsewhere",)))[0]} == {source[0].taken}
    full.copy("/videos/3.mp4", replace(target, path="/elsewhere/b.mp4"))
    assert {hit.taken for hit in full.search(queries(1), 9, Filter(folders=("/elsewhere/b.mp4",)))[0]} == {1.6e9 + 3}
    with pytest.raises(UnknownNameError, match="/no/such"):
        full.copy("/no/such", target)


def test_removed_files_are_forgotten(full):
    full.put([], [Skipped(file("/x.gif"), "why")])
    full.remove(["/x.gif", "/videos/0.mp4", "/never/was.jpg", *(f"/videos/none {i}" for i in range(1200))])
    left = [item for item in library() if item.file.path != "/videos/0.mp4"]
    assert not list(full.skipped())
    assert same(full.search(queries(), 100), slow_search(left, queries(), 100))
    full.remove([])


def test_vectors_come_in_the_order_of_their_ids(full):
    items = library()[::-7] + library()[:1] * 2
    assert (full.vectors([item.id for item in items]) == np.stack([item.vector for item in items])).all()
    with pytest.raises(UnknownNameError, match=r"there is no row 'abc'.*search again"):
        full.vectors([items[0].id, "abc"])


def test_samples_are_rows_without_repetition(full):
    rows = {item.vector.tobytes() for item in library()}
    sample = full.sample(30, seed=4)
    assert sample.shape == (30, DIM)
    assert sample.dtype == np.float32
    assert len({row.tobytes() for row in sample} & rows) == 30
    assert (full.sample(30, seed=4) == sample).all()
    assert {row.tobytes() for row in full.sample(30, seed=5)} != {row.tobytes() for row in sample}
    assert len(full.sample(1000)) == len(library())


def test_hostile_paths_are_only_names(store):
    items = [picture(path, vector) for path, vector in zip(HOSTILE, queries(len(HOSTILE)), strict=True)]
    store.put(items, [Skipped(file(path + ".bad"), path) for path in HOSTILE])
    store.put(items)
    for item in items:
        assert [hit.path for hit in store.search(item.vector[None], 5, Filter(folders=(item.file.path,)))[0]] == [
            item.file.path
        ]
        assert [one.path for one in store.files([item.file.path])] == [item.file.path]
        store.remove([item.file.path])
        assert not list(store.files([item.file.path]))
        store.remove([item.file.path + ".bad"])
    assert len(store) == len(list(store.skipped())) == 0


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), NAMES)
def test_any_text_can_be_a_path(store, names, folder):
    store.remove([one.path for one in store.files()])
    items = [picture(f"/{name}", vector) for name, vector in zip(names, queries(len(names)), strict=True)]
    store.put(items)
    assert {one.path for one in store.files()} == {item.file.path for item in items}
    where = Filter(folders=(f"/{folder}",))
    assert {hit.id for hit in store.search(queries(1), 9, where)[0]} == {item.id for item in items if fits(item, where)}
    store.remove([items[0].file.path])
    assert {one.path for one in store.files()} == {item.file.path for item in items[1:]}


def test_rows_that_cannot_be_are_refused_whole(full):
    good = picture("/good.jpg", queries(1)[0])
    for bad, what in (
        (picture("/bad.jpg", np.ones(3)), r"shape \(3,\), the index holds \(16,\)"),
        (picture("/bad.jpg", np.full(DIM, np.nan)), "not finite"),
        (good, "two rows of '/good.jpg'"),
    ):
        with pytest.raises(DataError, match=what):
            full.put([good, bad])
    with pytest.raises(DataError, match="as indexed and as skipped"):
        full.put([good], [Skipped(good.file, "why")])
    for bad in (
        {"items": [picture("/good.jpg", good.vector), replace(good, file=file("/\udcff.jpg"))]},
        {"items": [], "skipped": [Skipped(file("/\udcff.jpg"), "why")]},
    ):
        with pytest.raises(DataError, match=r"'/\\udcff.jpg' is not Unicode.*Rename"):
            full.put(**bad)
    assert not list(full.files(["/good.jpg", "/bad.jpg"]))


def test_searches_that_cannot_be_are_refused(full):
    with pytest.raises(SettingError, match=r"shape \(2, 3\), the index holds vectors of width 16"):
        full.search(queries(2, 3), 1)
    with pytest.raises(SettingError, match=r"shape \(16,\)"):
        full.search(queries(1)[0], 1)
    with pytest.raises(SettingError, match="k is 0, at least 1"):
        full.search(queries(1), 0)


def test_the_width_changes_only_while_there_are_no_rows(store):
    store.write_about(about(8))
    store.put([picture("/a.jpg", unit(np.ones(8)))])
    with pytest.raises(SettingError, match=r"holds 1 rows of width 8, the model makes vectors of width 16"):
        store.write_about(about(16))
    assert len(store.search(queries(1, 8), 3)[0]) == 1


def test_an_approximate_index_is_used_and_takes_in_new_rows(store, another):
    items = library(800, 0)
    store.put(items[:700])
    kind = store.build(8)
    store.write_about(about(index=Approximate(kind=kind, rows=700, effort=8, recall=1, queries=1, seconds=1)))
    store.put(items[700:])
    asked = queries(30)
    for opened in (store, another):
        expected = [{id for id, _ in one} for one in slow_search(items, asked, 10)]
        found = [{hit.id for hit in hits} for hits in opened.search(asked, 10)]
        assert np.mean([len(a & b) for a, b in zip(expected, found, strict=True)]) > 7
        assert same(opened.search(asked, 10, exact=True), slow_search(items, asked, 10))
        where = Filter(folders=("/photos/a",), before=1.5e9 + 40)
        assert [len(hits) for hits in opened.search(asked, 10, where)] == [10] * 30
        store.tidy()
    store.drop()
    assert store.about() == about()
    assert same(store.search(asked, 10), slow_search(items, asked, 10))


def test_tidying_changes_nothing_that_is_found(store):
    items = []
    for first in range(0, 120, 4):
        items += library(120, 0)[first : first + 4]
        store.put(items[-4:])
        if first % 3:
            continue
        store.remove([items.pop().file.path])
        store.tidy()
        assert same(store.search(queries(), 20), slow_search(items, queries(), 20))
        assert store.path_of(items[-2].id) == items[-2].file.path
        assert len(list(store.files())) == len(items)


# Several processes


CHILD = """
    import sys
    sys.path[:0] = [{tests!r}]
    from stores import *
    from babelclip.search.open import open_store
    store = open_store(sys.argv[1])
    """


def child(code: str, place: str) -> subprocess.Popen:
    """A process beside this one; it says what it has done line by line."""
    text = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent)) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", text, place], stdout=subprocess.PIPE, text=True)


WRITER = """
    def state(n):
        return [p for i in range(40) for p in video(f"/v/{i}.mp4", unit(np.eye(16)[:3] + n), str(n))]

    with store.writing():
        for n in range(100000):
            store.put(state(n))
            store.tidy()
            print(n, flush=True)
    """


def test_readers_see_what_a_writer_writes_and_a_kill_loses_nothing(store, another, place):
    with child(WRITER, place) as writer:
        try:
            while int(writer.stdout.readline()) < 2:
                pass
            assert len(store) == 120
            assert len(store.search(queries(1), 500)[0]) == 120
            with pytest.raises(SettingError, match="another process is writing to this index"), store.writing():
                pass
            for _ in range(10):
                assert len(store.search(queries(1), 500)[0]) == 120
                assert len(list(store.files())) == 40
            last = int(writer.stdout.readline())
        finally:
            os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = max([last, *map(int, rest)])
    with another.writing():
        contents = {one.content for one in another.files()}
        assert len(contents) == 1
        assert int(contents.pop()) in (last, last + 1)
        assert len(another) == 120
        another.put(video("/v/0.mp4", queries(2), "after"))
        another.tidy()
        assert len(another) == 119


def test_the_right_to_write_can_be_taken_again(store, another):
    for _ in range(2):
        with store.writing(), pytest.raises(SettingError, match="another process"), another.writing():
            pass
    with pytest.raises(ZeroDivisionError), store.writing():
        _ = 1 / 0
    with another.writing():
        pass
