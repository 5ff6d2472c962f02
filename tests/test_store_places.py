"""What is particular to each place of an index: a folder, or a PostgreSQL server."""

from __future__ import annotations

import shutil
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from babelclip.errors import BabelclipError, FormatError, MissingExtraError, SettingError
from babelclip.search.open import open_store
from stores import about, library, picture, queries, unit


@pytest.mark.parametrize(
    ("place", "package", "extra"),
    [
        ("folder", "lancedb", "search"),
        ("postgresql://h/d", "psycopg", "postgres"),
        ("postgres://h/d", "pgvector", "postgres"),
    ],
)
def test_missing_packages_are_told(monkeypatch, place, package, extra):
    for name in (package, f"{package}.psycopg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'babelclip\[{extra}\]'"):
        open_store(place)


# A folder in particular


@pytest.fixture
def folder(tmp_path) -> Path:
    pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")
    store = open_store(str(tmp_path / "index"))
    store.write_about(about())
    store.put(library(20, 0))
    return tmp_path / "index"


def test_a_foreign_folder_is_left_alone(tmp_path):
    pytest.importorskip("lancedb")
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    store = open_store(str(tmp_path))
    for act in (store.about, lambda: store.write_about(about()), lambda: store.writing().__enter__()):
        with pytest.raises(FormatError, match=r"no index: it holds 'holiday.jpg'.*Choose a new or an empty folder"):
            act()
    assert [one.name for one in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(FormatError, match=r"is a file"):
        open_store(str(tmp_path / "holiday.jpg")).about()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "damaged"), ("[]", "damaged"), ("{", "damaged"), ('{"format": 1}', "damaged"), ("\xff", "damaged"),
        ('{"format": 99, "new": 1}', "format 99, this babelclip reads formats up to 1.*newer babelclip"),
    ],
)  # fmt: skip
def test_damaged_words_of_a_folder_are_told(folder, text, what):
    (folder / "about.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=what):
        open_store(str(folder)).search(queries(1), 1)


@pytest.mark.parametrize(
    "part", ["about.json", "items.lance", "items.lance/data/*", "items.lance/_versions/*", "skipped.lance"]
)
def test_missing_parts_of_a_folder_are_told(folder, part):
    for found in list(folder.glob(part)):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    store = open_store(str(folder))
    with pytest.raises(FormatError, match=r"damaged.*index again"):
        (store.search(queries(1), 1), list(store.skipped()))


def test_a_folder_that_may_not_be_read_is_not_called_damaged(folder, forbid):
    message = r"index: may not be read \(.*Permission denied.*\)\. Mend the permissions"
    store = open_store(str(folder))
    with forbid(folder / "about.json"), pytest.raises(BabelclipError, match=message):
        store.about()
    with pytest.raises(BabelclipError, match=message), store.reading():
        raise RuntimeError("lance error: Permission denied (os error 13)")


def test_garbage_in_a_folder_is_told(folder):
    for found in (folder / "items.lance/data").iterdir():
        found.write_bytes(b"garbage" * 100)
    with pytest.raises(FormatError, match=r"damaged.*index again"):
        open_store(str(folder)).search(queries(1), 1)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    pytest.importorskip("lancedb")
    (tmp_path / "file").write_text("x")
    store = open_store(str(tmp_path / "file" / "index"))
    with pytest.raises(BabelclipError, match="cannot be written"), store.writing():
        pass
    with pytest.raises(BabelclipError, match="cannot be written"):
        store.write_about(about())


def test_a_folder_that_was_killed_at_the_beginning_is_begun_again(folder):
    store = open_store(str(folder))
    store.remove([one.path for one in store.files()])
    (folder / "about.json").unlink()
    (folder / ".about.json.77.tmp").write_text("{")
    store = open_store(str(folder))
    assert store.about() is None
    store.write_about(about(8))
    store.put([picture("/a.jpg", unit(np.ones(8)))])
    assert len(store) == 1


def test_old_versions_are_kept_for_readers_of_a_folder(folder):
    reader, writer = open_store(str(folder)), open_store(str(folder))
    writer.tidy()
    names = reader.files()
    first = next(names)
    for i in range(40):
        writer.put([picture(f"/new/{i}.jpg", queries(1)[0])])
    writer.remove([first.path])
    pieces = len(list((folder / "items.lance/_versions").iterdir()))
    assert reader.table("items").stats()["fragment_stats"]["num_fragments"] > 40
    writer.tidy()
    assert reader.table("items").stats()["fragment_stats"]["num_fragments"] < 5
    assert len(list((folder / "items.lance/_versions").iterdir())) > pieces
    assert len([first, *names]) == 20
    assert len(list(reader.files())) == 59


def test_the_space_of_removed_rows_is_given_back(folder):
    store = open_store(str(folder))
    store.put(library(200, 0, seed=3))
    for left in (100, 0):
        paths = [one.path for one in store.files()]
        store.remove(paths[left:])
        store.tidy()
        stats = store.table("items").stats()
        assert stats["num_rows"] == left
        assert stats["fragment_stats"]["num_fragments"] * stats["fragment_stats"]["lengths"]["mean"] == left
    store.put(library(3, 0))
    assert len(store.search(queries(1), 5)[0]) == 3


# A server in particular


@pytest.fixture
def url(postgres_url, tmp_path) -> str:
    """The address of a schema that does not exist yet."""
    return f"{postgres_url}?schema={tmp_path.name}"


@pytest.fixture
def on_server(url):
    with closing(open_store(url)) as store:
        store.write_about(about())
        store.put(library(20, 0))
        yield store


@pytest.fixture
def run(postgres_url):
    """Run a statement as somebody else would."""
    import psycopg

    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        yield connection.execute


def test_the_password_is_in_no_message(postgres_url):
    assert ":secret@" in postgres_url
    unreachable = "postgresql://me:s%65cret@127.0.0.1:1/db?connect_timeout=2&schema=x"
    store = open_store(unreachable)
    assert store.place == "postgresql://me@127.0.0.1:1/db?schema=x"
    with pytest.raises(SettingError, match=r"cannot be reached .*Start the server") as told:
        store.about()
    assert "secret" not in str(told.value)
    for wrong in (
        "me:secret@h:port/db", "me:secret@h/db?no_such_option=1", "me:my/secret@h/db", "me:my#secret@h/db",
        "me:my@secret@h/db", "me:my?secret@h/db", "me:my[secret@h/db",
    ):  # fmt: skip
        with pytest.raises(SettingError, match="no address of a PostgreSQL server") as told:
            open_store(f"postgresql://{wrong}")
        assert "secret" not in str(told.value)
    assert open_store("postgresql://me:my%2Fsecret@h/db").place == "postgresql://me@h/db?schema=babelclip"
    assert open_store("postgresql://h/db?password=secret").place == "postgresql://h/db?schema=babelclip"


def test_a_foreign_schema_is_left_alone(url, run, tmp_path):
    run(f"CREATE SCHEMA {tmp_path.name}")
    run(f"CREATE TABLE {tmp_path.name}.items (mine int)")
    with closing(open_store(url)) as store:
        for act in (store.about, lambda: store.write_about(about())):
            with pytest.raises(FormatError, match=r"holds a table 'items', but says nothing.*\?schema=NAME"):
                act()
    run(f"SELECT mine FROM {tmp_path.name}.items")


def test_an_empty_schema_may_be_there(url, run, tmp_path):
    run(f"CREATE SCHEMA {tmp_path.name}")
    with closing(open_store(url)) as store:
        assert store.about() is None
        store.write_about(about())
        assert len(store) == 0


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("DROP TABLE {0}.items", "damaged"),
        ("ALTER TABLE {0}.items DROP COLUMN taken", "damaged"),
        ("UPDATE {0}.about SET content = '{{'", "damaged"),
        ("""UPDATE {0}.about SET content = '{{"format": 99}}'""", "format 99, this babelclip reads formats up to 1"),
        ("DROP SCHEMA {0} CASCADE", "no index was begun"),
    ],
)
def test_what_is_wrong_with_a_schema_is_told(on_server, run, tmp_path, damage, what):
    run(damage.format(tmp_path.name))
    with pytest.raises(BabelclipError, match=what):
        on_server.search(queries(1), 1)


def test_users_without_rights_are_told(url, run, tmp_path):
    run(f"CREATE ROLE {tmp_path.name} LOGIN")
    run("CREATE EXTENSION IF NOT EXISTS vector")
    with closing(open_store(url.replace("tester:secret", tmp_path.name))) as store:
        assert store.about() is None
        with pytest.raises(SettingError, match=r"may not do this .*AUTHORIZATION"):
            store.write_about(about())


def test_a_lost_connection_is_made_anew(on_server, run):
    assert len(on_server) == 20
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'tester'")
    with pytest.raises(SettingError, match="cannot be reached"):
        len(on_server)
    assert len(on_server) == 20


def test_an_index_is_built_by_one_process_where_memory_cannot_be_shared(on_server, monkeypatch):
    import psycopg

    build, tried = on_server._build, []

    def full_once(memory, ready, settings=None):
        tried.append(settings)
        if len(tried) == 1:
            raise BabelclipError("full", fix="") from psycopg.errors.DiskFull()
        build(memory, ready, settings)

    monkeypatch.setattr(on_server, "_build", full_once)
    assert on_server.build(16) == "hnsw"
    assert tried == [None, {"max_parallel_maintenance_workers": "0"}]


def test_threads_search_at_once(on_server):
    expected = on_server.search(queries(3), 5)
    found, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: found.append(on_server.search(queries(3), 5))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_a_put_that_fails_midway_changes_nothing(on_server):
    bad = picture("/bad\0name.jpg", queries(1)[0])
    with pytest.raises(BabelclipError, match="the server refuses"):
        on_server.put([*library(20, 0, seed=5), bad])
    assert len(on_server) == 20
    assert (on_server.vectors([library(1, 0)[0].id]) == library(1, 0)[0].vector).all()
