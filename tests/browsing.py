"""A browser that opens the page of ``babelclip serve``; fixtures for ``conftest.py``."""

import os
import re
import shutil
from contextlib import contextmanager

import pytest

from fake_search import Library, serve

CHROMIUM = os.environ.get("BABELCLIP_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.violatedDirective))"
TRANSFER = """async ([kind, name, type, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, {type}));
  if (kind === "paste") {
    dispatchEvent(new ClipboardEvent("paste", {clipboardData: files, bubbles: true, cancelable: true}));
    return;
  }
  for (const one of ["dragenter", "dragover"]) {
    document.body.dispatchEvent(new DragEvent(one, {dataTransfer: files, bubbles: true, cancelable: true}));
  }
  const lifted = !document.getElementById("veil").hidden;
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
  return [lifted, document.getElementById("veil").hidden];
}"""


@pytest.fixture(scope="module")
def browser():
    tools = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: pip install it")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: install it, or name it in BABELCLIP_CHROMIUM")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tools.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """Ten seconds of video."""
    pytest.importorskip("av", reason="videos need the extra [video]")
    from films import write_film

    file = tmp_path_factory.mktemp("films") / "film.webm"
    return write_film(file, 20, times=[50 * i for i in range(20)], codec="libvpx").read_bytes()


@pytest.fixture
def library(film) -> Library:
    return Library(film)


@contextmanager
def visiting(browser, origin):
    """Open pages of a server; at the end nothing has left the origin and nothing has gone wrong unseen."""
    opened, faults, strangers = [], [], []

    def go(path="/", *, width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-US", **options})
        context.set_default_timeout(5000)
        context.add_init_script(WATCH)
        page = context.new_page()
        opened.append(context)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: line.type in ("error", "warning") and faults.append(line.text))
        page.on("request", lambda asked: asked.url.startswith((origin, "blob:")) or strangers.append(asked.url))
        page.goto(origin + path)
        page.locator("#interface option").first.wait_for(state="attached")
        return page

    yield go
    for context in opened:
        context.close()
    assert strangers == [], strangers
    unseen = [fault for fault in faults if not fault.startswith("Failed to load resource")]
    assert unseen == [], unseen


@pytest.fixture
def visit(browser, library):
    """Open the page of the fake server."""
    with serve(library) as origin, visiting(browser, origin) as go:
        yield go


def give(page, kind, name, mime, content):
    return page.evaluate(TRANSFER, [kind, name, mime, list(content)])


def chip(page, tag):
    return page.locator(f'#languages [data-tag="{tag}"]')


def search(page, text):
    page.locator("#q").fill(text)
    page.locator(".card").first.wait_for()
    page.locator("#status", has_text=re.compile(".")).wait_for()


def until(page, condition):
    """Wait for what only the server sees."""
    for _ in range(250):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not happen within five seconds")


def arabic(visit, **options):
    """The page in Arabic, with pictures."""
    page = visit("/?q=كلب", locale="ar", **options)
    page.locator(".card").nth(39).wait_for()
    return page


def card_id(page) -> str:
    return re.search(r"like=(\w+)", page.url)[1]
