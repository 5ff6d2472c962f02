"""The real page, the real server, real packs: Arabic, Japanese and Spanish pictogram names in a real browser."""

from __future__ import annotations

import csv
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra [serve]")
pytest.importorskip("uvicorn", reason="the server needs the extra [serve]")
pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")

import uvicorn

from babelclip.config import PICTOCLIP
from babelclip.export import with_onnx
from babelclip.packs import install_pack, learn_pack, load_polyglot, save_pack
from babelclip.packs.installed import begin_folder
from babelclip.search.index import index_folders
from babelclip.search.open import open_store
from babelclip.search.query import Query, Searcher
from babelclip.search.web.app import make_app
from babelclip.search.web.service import Service
from browsing import chip, give, search, visiting

LANGUAGES = ("ar", "ja", "es")


@pytest.fixture(scope="module")
def taught(openmoji_folder, tmp_path_factory):
    """A pack file a language: two passes over 2,650 names, so that many of them are found again."""
    folder, model = tmp_path_factory.mktemp("packs"), load_polyglot("pictoclip", device="cpu")
    for language in LANGUAGES:
        data = openmoji_folder / f"{language}.train.tsv"
        pack, _ = learn_pack(model, language, data, settings=replace(PICTOCLIP, epochs=2))
        save_pack(pack, folder / f"{language}.babelpack")
    return folder


@pytest.fixture(scope="module")
def place(openmoji_folder, tmp_path_factory):
    """All 3,700 pictograms, indexed."""
    place = str(tmp_path_factory.mktemp("real") / "index")
    store, model = open_store(place), load_polyglot("pictoclip", device="cpu")
    index_folders([openmoji_folder / "images"], store, lambda: model.encoder, note=lambda _: None)
    store.close()
    return place


@pytest.fixture(scope="module")
def names(openmoji_folder, taught, place):
    """Names of one training concept in all three languages whose drawing the library finds first, route and all."""
    model = load_polyglot("pictoclip", device="cpu")
    found, texts = [], {}
    from babelclip.packs import load_pack

    for language in LANGUAGES:
        model = model.install(load_pack(taught / f"{language}.babelpack", model.encoder, model.base))
    store = open_store(place)
    searcher = Searcher(model, store)
    for language in LANGUAGES:
        with (openmoji_folder / f"{language}.train.tsv").open(encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened, delimiter="\t"))
        answers = searcher.search_all([Query(row[language], k=1) for row in rows])
        good = {
            Path(row["image"]).name
            for row, answer in zip(rows, answers, strict=True)
            if Path(answer.hits[0].path).name == Path(row["image"]).name and answer.route.tag == language
        }
        found.append(good)
        texts[language] = {Path(row["image"]).name: row[language] for row in rows}
    store.close()
    assert all(len(good) > 100 for good in found), [len(good) for good in found]
    common = sorted(set.intersection(*found))
    assert common, "no drawing is found first in all three languages"
    return common[0], {language: texts[language][common[0]] for language in LANGUAGES}


@pytest.fixture
def origin(taught, place, tmp_path):
    """The server with Arabic and Japanese."""
    folder, base = tmp_path / "my", load_polyglot("pictoclip", device="cpu")
    begin_folder(folder, base.encoder)
    from babelclip.packs import load_pack

    for language in LANGUAGES[:2]:
        install_pack(folder, load_pack(taught / f"{language}.babelpack", base.encoder, base.base), base.encoder)
    store = open_store(place)
    service = Service(with_onnx(load_polyglot(folder, device="cpu")), store, folder)
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    store.close()


def test_the_right_pictogram_is_on_top_in_every_language(browser, origin, names, taught, openmoji_folder):
    drawing, texts = names
    shots = os.environ.get("BABELCLIP_SCREENSHOTS")

    def top(page):
        return page.locator(".card").first.get_attribute("aria-label") or page.locator(".card").first.inner_text()

    with visiting(browser, origin) as visit:
        page = visit()
        for language in LANGUAGES[:2]:
            search(page, texts[language])
            page.wait_for_function("name => document.querySelector('.card').outerHTML.includes(name)", arg=drawing)
            assert drawing in top(page)
            assert "%" in page.locator("#languages").inner_text()  # the language was found out, and is shown
        assert chip(page, "es").count() == 0
        give(page, "drop", "es.babelpack", "application/octet-stream", (taught / "es.babelpack").read_bytes())
        chip(page, "es").wait_for(timeout=20_000)
        search(page, texts["es"])
        page.wait_for_function("name => document.querySelector('.card').outerHTML.includes(name)", arg=drawing)
        if shots:
            page.screenshot(path=str(Path(shots) / "real-1280.png"))
        page.locator("#q").fill("")
        give(page, "drop", drawing, "image/png", (openmoji_folder / "images" / drawing).read_bytes())
        page.wait_for_function("name => document.querySelector('.card').outerHTML.includes(name)", arg=drawing)
        narrow = visit("/?q=" + texts["ar"], width=390, height=800, locale="ar")
        narrow.locator(".card").first.wait_for()
        assert drawing in top(narrow)
        if shots:
            narrow.screenshot(path=str(Path(shots) / "real-390-ar.png"))
