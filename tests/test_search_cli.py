"""``babelclip index`` and ``babelclip search`` as users type them, and what a query means."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from torch.nn.functional import normalize

import babelclip.cli.console  # noqa: F401 - made before COLUMNS is set, or its width stays that of these tests
from babelclip import TaskSettings
from babelclip.cli.main import app, main
from babelclip.data.examples import base_lexicon
from babelclip.errors import FormatError, SettingError
from babelclip.packs import Polyglot, install_pack, learn_pack
from babelclip.search.filters import make_filter
from babelclip.search.index import index_folders
from babelclip.search.items import Filter, Hit
from babelclip.search.looking import Limits
from babelclip.search.open import open_store
from babelclip.search.query import WITHOUT, Query, Searcher
from films import write_film

pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Call the command line; returns the exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["babelclip", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    monkeypatch.setenv("BABELCLIP_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("COLUMNS", "200")
    return run


@pytest.fixture
def photos(captions, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in captions.glob("*.png"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def packs(tiny, captions, tmp_path_factory):
    """A folder of packs: German."""
    folder = tmp_path_factory.mktemp("packs") / "my"
    settings = TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3)
    pack, _ = learn_pack(Polyglot(tiny, base_lexicon(tiny)), "de", captions / "de.tsv", settings=settings)
    install_pack(folder, pack, tiny)
    return folder


@pytest.fixture
def searcher(tiny, photos, tmp_path):
    store = open_store(str(tmp_path / "direct"))
    index_folders([photos], store, lambda: tiny, note=lambda _: None)
    yield Searcher(Polyglot(tiny, base_lexicon(tiny)), store)
    store.close()


def test_index_then_search_then_again(call, photos, packs):
    code, out, _ = call("index", photos, "--model", packs)
    assert code == 0
    assert re.search(r"Files: 24 new\n24 pictures and moments in .*index; .* pictures/s", out), out
    assert re.search(r'Next:\n  \S.* search "\.\.\."\n  \S.* serve\n$', out), out
    code, out, _ = call("index", photos)
    assert "Files: 0 new, 24 unchanged" in out
    code, out, _ = call("search", "ein quadrat in rot", "-k", 3)
    assert code == 0
    assert re.match(r"Language: German \(de\), \d+% sure", out), out
    assert len(re.findall(r"^ \d  0\.\d{3}  /.* 20 x 20", out, re.MULTILINE)) == 3, out
    code, out, _ = call("search", "a", "red", "square", "--language", "en", "--json")
    assert json.loads(out)["query"] == {"text": "a red square"}
    answer = json.loads(out)
    assert (answer["language"]["tag"], answer["language"]["given"], len(answer["results"])) == ("en", True, 10)
    assert answer["items"] == 24


def test_where_nothing_has_changed_not_even_torch_is_imported(call, photos, tiny_folder, tmp_path):
    call("index", photos, "--model", tiny_folder)
    code = "import sys; from babelclip.cli.main import main; main(); sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "index", photos, "--store", tmp_path / "index"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "0 new, 24 unchanged" in done.stdout
    assert f"serve --store {tmp_path / 'index'}\n" in done.stdout
    assert done.returncode == 0, done.stderr


def test_a_language_that_comes_later_needs_no_new_index(call, photos, packs, tiny_folder, tmp_path, tiny):
    empty = tmp_path / "later"
    call("index", photos, "--model", tiny_folder)
    code, _, error = call("search", "ein quadrat", "--language", "de")
    assert (code, "unknown installed language 'de'. Known: en. Learn it (babelclip learn)" in error) == (1, True)
    from babelclip.packs.installed import begin_folder

    begin_folder(empty, tiny)
    shutil.copy(packs / "de.babelpack", empty)
    code, out, _ = call("search", "ein quadrat", "--language", "de", "--model", empty)
    assert (code, "Language: German (de), as told" in out) == (0, True)


def test_another_model_of_the_same_base_is_remembered(call, photos, packs, tiny_folder, tmp_path):
    call("index", photos, "--model", tiny_folder)
    _, out, _ = call("search", "ein quadrat in rot")
    assert f"English (en), the only one installed in {tiny_folder.resolve()}\n" in out
    moved = shutil.copytree(packs, tmp_path / "moved")
    for model, before in ((packs, tiny_folder), (moved, packs)):
        code, out, error = call("index", photos, "--model", model)
        assert (code, "Files: 0 new, 24 unchanged" in out) == (0, True)
        assert f"note: searches of this index now load '{model}', until now '{before}'" in error
    assert "note" not in call("index", photos)[2]
    assert "Language: German (de)" in call("search", "ein quadrat in rot")[1]
    moved.rename(tmp_path / "gone")
    code, _, error = call("search", "ein quadrat")
    assert (code, f"index: the index was made with the model '{moved}', but" in error) == (1, True)
    assert "Say where it lies now: --model FOLDER" in error
    assert call("search", "ein quadrat", "--model", tmp_path / "gone")[0] == 0


def test_a_folder_named_as_the_built_in_model_does_not_take_its_place(call, photos, tmp_path, monkeypatch):
    (tmp_path / "pictoclip").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call("index", photos)[0] == 0
    code, out, error = call("search", "a red square", "--json")
    assert (code, error) == (0, "")
    assert "photos" in out


def test_mistakes_end_with_the_way_out(call, photos, packs, tmp_path):
    code, _, error = call("search", "a red square")
    assert (code, "babelclip index FOLDER" in error) == (1, True)
    code, _, error = call("index", tmp_path / "nothing")
    assert (code, "the folder is not there" in error) == (1, True)
    call("index", photos, "--model", packs)
    code, _, error = call("search")
    assert (code, "nothing to search for" in error) == (1, True)
    code, _, error = call("search", "a", "--since", "May")
    assert (code, "since is 'May'. Write a day as 2024-05-01" in error) == (1, True)
    for texts in (["gr\udcfcn"], ["a", "--minus", "gr\udcfcn"]):  # how Python reads bytes that are not UTF-8
        code, _, error = call("search", *texts)
        assert (code, r"the text 'gr\udcfcn' is not UTF-8" in error) == (1, True)
    code, _, error = call("search", "a", "--in", "gr\udcfcn")
    assert (code, r"the folder is 'gr\udcfcn'. Give the path of a folder" in error) == (1, True)
    code, _, error = call("search", "--image", tmp_path / "gone.png")
    assert (code, "there is no such picture" in error) == (1, True)
    code, _, error = call("search", "--image", photos / "0-0.png", "--language", "de")
    assert (code, "--language de is of a text, and none is given" in error) == (1, True)
    code, _, error = call("index", photos, "--model", "pictoclip")
    assert (code, "vectors of two models cannot be compared" in error) == (1, True)
    code, out, _ = call("search", "a", "--in", tmp_path / "elsewhere")
    assert (code, "Nothing found among 24 pictures and moments with these filters." in out) == (0, True)
    hints = call("search", "a", "--in", tmp_path / "elsewhere", "--since", "2024-05-02", "--before", "2024-05-01")[2]
    assert f"note: there is no folder {tmp_path / 'elsewhere'}\n" in hints
    assert "note: no day is on or after --since and before --before\n" in hints
    (tmp_path / "empty").mkdir()
    code, _, error = call("index", tmp_path / "empty")
    assert (code, f"note: no pictures or videos in {tmp_path / 'empty'} (bmp dib gif" in error) == (0, True)


def test_skipped_files_are_summed_up_or_listed(call, photos, tiny_folder):
    for number in range(3):
        (photos / f"bad{number}.png").write_bytes(b"")
    (photos / "text.jpg").write_text("text")
    (photos / "notes.txt").write_text("text")
    _, out, _ = call("index", photos, "--model", tiny_folder)
    assert "Files: 24 new, 4 skipped, 1 of other kinds" in out
    assert re.search(r"skipped 3: empty \(first .*bad0\.png\)", out)
    _, out, _ = call("index", photos, "--list-skipped")
    assert len(re.findall(r"^skipped /.*/bad\d\.png: empty$", out, re.MULTILINE)) == 3
    _, out, _ = call("index", photos, "--json")
    report = json.loads(out)
    assert (report["unchanged"], len(report["skipped"]), report["items"]) == (24, 4, 24)


def test_thumbnails_in_terminals_that_show_them(call, photos, tiny_folder, monkeypatch):
    call("index", photos, "--model", tiny_folder)
    monkeypatch.setenv("TERM_PROGRAM", "iTerm.app")
    _, out, _ = call("search", "a red square", "-k", 1, "--thumbnails")
    assert "\033]1337;File=inline=1" in out
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")
    _, out, _ = call("search", "a red square", "-k", 1, "--thumbnails")
    assert "\033_Ga=T,f=100" in out
    _, out, _ = call("search", "a red square", "-k", 1)
    assert "\033_G" not in out  # no terminal


def test_watching_follows_the_folder(photos, tiny_folder, tmp_path):
    pytest.importorskip("watchfiles", reason="--watch needs watchfiles")
    command = [sys.executable, "-m", "babelclip", "index", photos, "--model", tiny_folder, "--store", tmp_path / "w",
               "--watch"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watchdog = threading.Timer(90, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if line.startswith("Watching"):
                break
        shutil.copy(photos / "0-0.png", photos / "later.png")
        for line in process.stdout:
            if "1 new" in line:
                break
        else:
            pytest.fail("the new picture was not seen")
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()
        watchdog.cancel()


def test_arithmetic_of_a_query(searcher, tiny, photos):
    polyglot = searcher.polyglot

    def unit(text):
        return normalize(polyglot.encode_texts([text], language="en"), dim=1)[0]

    picture = normalize(tiny.encode_images([photos / "3-1.png"]), dim=1)[0]
    query = Query("a red square", "en", minus=("a wall",), pictures=(photos / "3-1.png",), k=24)
    direction = normalize(unit("a red square") + picture - WITHOUT * unit("a wall"), dim=0)
    rows = normalize(tiny.encode_images(sorted(photos.glob("*.png"))), dim=1)
    expected = sorted((rows @ direction).tolist(), reverse=True)
    answer = searcher.search(query)
    assert [hit.score for hit in answer.hits] == pytest.approx(expected, abs=1e-5)
    like = searcher.search(Query(like=(answer.hits[0].id,), k=1)).hits[0]
    assert like.score == pytest.approx(1, abs=1e-5)


def test_many_queries_at_once_are_as_one_by_one(searcher):
    queries = [
        Query("a red square", k=2), Query("a wall", "en", minus=("red",), k=5), Query("", like=(_some_id(searcher),)),
        Query("blue field", where=Filter(kind="video")), Query("pink", k=24),
    ]  # fmt: skip
    together = searcher.search_all(queries)
    alone = [searcher.search(query) for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
        assert [hit.score for hit in one.hits] == pytest.approx([hit.score for hit in other.hits], abs=1e-5)
    assert together[3].hits == []
    with pytest.raises(SettingError, match="k is 0"):
        searcher.search(Query("a", k=0))


def _some_id(searcher):
    return searcher.store.search(np.eye(1, searcher.about.dim, dtype=np.float32), 1)[0][0].id


def test_a_video_is_found_once_at_its_best_moment(tiny, tmp_path):
    for name in ("a", "b"):
        write_film(tmp_path / "films" / f"{name}.mp4", 24 if name == "a" else 12)
    store = open_store(str(tmp_path / "direct"))
    index_folders([tmp_path / "films"], store, lambda: tiny, limits=Limits(frames=8), note=lambda _: None)
    searcher = Searcher(Polyglot(tiny, base_lexicon(tiny)), store)
    hits = searcher.search(Query("a red square", k=2)).hits
    assert sorted(Path(hit.path).name for hit in hits) == ["a.mp4", "b.mp4"]
    rows = searcher.store.search(
        normalize(searcher.polyglot.encode_texts(["a red square"]), dim=1).numpy(), 100, exact=True
    )[0]
    for hit in hits:
        assert hit.score == max(row.score for row in rows if row.path == hit.path)
    store.close()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_best_files_are_those_of_the_best_rows(searcher, k, monkeypatch):
    """Rows of five videos in any order: the first k files of the rows, and the first row of each."""
    owners = "bacabdcebadceeddcba"
    rows = [Hit(str(n), name, "video", float(n), 0.0, 1, 1, 9.0, 1 - n / 100) for n, name in enumerate(owners)]
    monkeypatch.setattr(type(searcher.store), "__len__", lambda _: len(rows))
    monkeypatch.setattr(searcher.store, "search", lambda asked, many, _: [rows[:many] for _ in asked])
    hits = searcher.search(Query("a red square", "en", k=k)).hits
    assert [hit.path for hit in hits] == list(dict.fromkeys(owners))[:k]
    assert [hit.id for hit in hits] == [str(owners.index(hit.path)) for hit in hits]


def test_an_index_of_another_model_is_refused(searcher, deep):
    with pytest.raises(FormatError, match="cannot be compared"):
        Searcher(Polyglot(deep, base_lexicon(deep)), searcher.store)


def test_filters_are_read_as_people_write_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_filter(["a/../b"], "2024-05-01", "2024-05-02", "video")
    assert made == Filter((str(tmp_path / "b"),), 1714521600.0, 1714608000.0, "video")
    assert make_filter([], None, "", "") == Filter()


def test_help_names_all_three_and_imports_no_torch():
    code = (
        "import sys; from babelclip.cli.main import app; sys.exit('torch' in sys.modules or 'lancedb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    names = {command.callback.__name__ for command in app.registered_commands}
    assert {"index", "search", "serve"} <= names


def test_above_the_limit_it_is_said_how_search_goes(call, photos, tiny_folder, monkeypatch):
    monkeypatch.setattr("babelclip.search.approximate.fit.__kwdefaults__", {"limit": 10, "wanted": 0.95, "queries": 20})
    monkeypatch.setattr("babelclip.cli.index.EXACT_UP_TO", 10)
    _, out, _ = call("index", photos, "--model", tiny_folder)
    assert re.search(r"Approximate index \w+, built now over 24 rows: recall@10 \d\.\d{3} of exact search \(20", out), (
        out
    )
    (photos / "7-2.png").unlink()
    monkeypatch.setattr("babelclip.search.index.fit", lambda store: store.drop())
    _, out, _ = call("index", photos)
    assert "Search is exact, and slow: no approximate index reached a recall@10 of 0.95" in out
