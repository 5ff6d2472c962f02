"""What the demo leaves behind: packs, an index, and commands that work as they stand."""

from __future__ import annotations

import shutil

import pytest

import babelclip
from babelclip.cli.console import progress_bars
from babelclip.cli.demo_models import keep
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.packs import Polyglot, learn_pack, list_installed


@pytest.fixture
def out(captions, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    for file in captions.glob("*.png"):
        shutil.copy(file, tmp_path / "data" / "images")
    return tmp_path


def test_packs_are_kept_and_the_drawings_are_indexed(tiny, captions, quick, out):
    pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")
    empty = Polyglot(tiny, base_lexicon(tiny))
    pack, _ = learn_pack(empty, "de", captions / "de.tsv", settings=quick)
    learnt = {"cll": babelclip.Student(tiny), "packs-routed": empty.install(pack)}
    for _ in range(2):  # a demo that is run again finds everything there
        with progress_bars() as bars:
            commands = keep(out, learnt, ["en", "de"], bars)
    assert list(list_installed(out / "packs")) == ["de"]
    assert (out / "model" / "manifest.json").is_file() or any((out / "model").iterdir())
    assert commands[0].endswith(f"serve --store {out / 'index'}")
    store = babelclip.open_store(str(out / "index"))
    assert (len(store), store.about().model) == (24, str(out / "packs"))
    searcher = babelclip.Searcher(Polyglot.load(store.about().model), store)
    assert searcher.search(babelclip.Query("ein quadrat in rot")).route.tag == "de"
    store.close()
    verbs = {command.callback.__name__ for command in app.registered_commands}
    assert {command.split()[1] for command in commands[:-1] if command.startswith("babelclip ")} <= verbs


def test_without_packs_the_shared_lexicon_is_what_one_goes_on_with(tiny, out):
    with progress_bars() as bars:
        commands = keep(out, {"cll": babelclip.Student(tiny)}, ["en", "de"], bars)
    assert not (out / "packs").exists()
    assert f"evaluate --model {out / 'model'} --language de" in commands[0]
    assert "--base" in commands[1]
