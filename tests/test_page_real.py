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
from babelclip.packs import install_pack, learn_pack, load_pack, load_polyglot, save_pack
from babelclip.packs.installed import begin_folder
from babelclip.search.index import index_folders
from babelclip.search.open import open_store
from babelclip.search.query import Query, Searcher
from babelclip.search.web.app import make_app
from babelclip.search.web.service import Service
from browsing import chip, give, visiting

LANGUAGES = ("ar", "ja", "es")


@pytest.fixture(scope="module")
def rows(openmoji_folder):
    """Names and drawings of every fifth training concept, by language."""
    found = {}
    for language in LANGUAGES:
        with (openmoji_folder / f"{language}.train.tsv").open(encoding="utf-8") as opened:
            found[language] = list(csv.DictReader(opened, delimiter="\t"))[::5]
    return found


@pytest.fixture(scope="module")
def taught(openmoji_folder, rows, tmp_path_factory):
    """A pack file a language: many passes over few names, so that many of them are found again."""
    folder, model = tmp_path_factory.mktemp("packs"), load_polyglot("pictoclip", device="cpu")
    for language in LANGUAGES:
        lines = [f"{openmoji_folder / row['image']}\t{row['en']}\t{row[language]}" for row in rows[language]]
        (folder / f"{language}.tsv").write_text("\n".join([f"image\ten\t{language}", *lines]) + "\n", encoding="utf-8")
        settings = replace(PICTOCLIP, epochs=4, vocab_size=800)
        pack, _ = learn_pack(model, language, folder / f"{language}.tsv", settings=settings)
        save_pack(pack, folder / f"{language}.babelpack")
    return folder


@pytest.fixture(scope="module")
def place(openmoji_folder, rows, tmp_path_factory):
    """Those pictograms and as many others, indexed."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "images").mkdir()
    names = {Path(row["image"]).name for row in rows["ar"]}
    others = [file for file in sorted((openmoji_folder / "images").iterdir()) if file.name not in names]
    for file in [*(openmoji_folder / "images" / name for name in names), *others[:: len(others) // len(names)]]:
        (folder / "images" / file.name).hardlink_to(file)
    store, model = open_store(str(folder / "index")), load_polyglot("pictoclip", device="cpu")
    index_folders([folder / "images"], store, lambda: model.encoder, note=lambda _: None)
    store.close()
    return str(folder / "index")


@pytest.fixture(scope="module")
def names(rows, taught, place):
    """Names of one training concept in all three languages whose drawing the library finds first, route and all."""
    model = load_polyglot("pictoclip", device="cpu")
    found, texts = [], {}
    for language in LANGUAGES:
        model = model.install(load_pack(taught / f"{language}.babelpack", model.encoder, model.base))
    store = open_store(place)
    searcher = Searcher(model, store)
    for language in LANGUAGES:
        answers = searcher.search_all([Query(row[language], k=1) for row in rows[language]])
        good = {
            Path(row["image"]).name
            for row, answer in zip(rows[language], answers, strict=True)
            if Path(answer.hits[0].path).name == Path(row["image"]).name and answer.route.tag == language
        }
        found.append(good)
        texts[language] = {Path(row["image"]).name: row[language] for row in rows[language]}
    store.close()
    assert all(len(good) > 50 for good in found), [len(good) for good in found]
    common = sorted(set.intersection(*found))
    assert common, "no drawing is found first in all three languages"
    return common[0], {language: texts[language][common[0]] for language in LANGUAGES}


@pytest.fixture
def origin(taught, place, tmp_path):
    """The server with Arabic and Japanese."""
    folder, base = tmp_path / "my", load_polyglot("pictoclip", device="cpu")
    begin_folder(folder, base.encoder)
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

    def find(page, text, language):
        page.locator("#q").fill(text)
        page.locator("#languages", has_text=f"detected: {language}").wait_for()
        page.wait_for_function("name => document.querySelector('.card').outerHTML.includes(name)", arg=drawing)

    def shoot(page, name):
        if shots:
            page.wait_for_load_state("networkidle")
            Path(shots).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(shots) / f"{name}.png")

    with visiting(browser, origin) as visit:
        page = visit()
        find(page, texts["ar"], "Arabic")
        find(page, texts["ja"], "Japanese")
        assert chip(page, "es").count() == 0
        give(page, "drop", "es.babelpack", "application/octet-stream", (taught / "es.babelpack").read_bytes())
        chip(page, "es").wait_for(timeout=20_000)
        find(page, texts["es"], "Spanish")
        shoot(page, "real-1280")
        page.locator("#q").fill("")
        page.locator(".card").first.wait_for(state="detached")
        give(page, "drop", drawing, "image/png", (openmoji_folder / "images" / drawing).read_bytes())
        page.wait_for_function("name => document.querySelector('.card')?.outerHTML.includes(name)", arg=drawing)
        narrow = visit("/?q=" + texts["ar"], width=390, height=800, locale="ar")
        narrow.wait_for_function("name => document.querySelector('.card')?.outerHTML.includes(name)", arg=drawing)
        shoot(narrow, "real-390-ar")
