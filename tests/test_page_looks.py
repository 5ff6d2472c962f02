"""How the page of ``babelclip serve`` looks, reads and is reached by keys, in ten languages, light and dark."""

import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: pip install it")
from playwright.sync_api import expect

from browsing import arabic, chip, search
from fake_search import PAGE

# ---- the files ----


def words() -> dict[str, dict[str, str]]:
    return json.loads((PAGE / "words.json").read_text(encoding="utf-8"))


def sources() -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in PAGE.iterdir() if file.suffix != ".json"}


def test_every_language_has_every_word():
    everything = words()
    assert set(everything) >= {"en", "de", "fr", "es", "ar", "fa", "zh", "ja", "ru", "sw"}
    for tag, texts in everything.items():
        assert texts.keys() == everything["en"].keys(), tag
        assert texts["dir"] == ("rtl" if tag in ("ar", "fa") else "ltr")
        for key, text in texts.items():
            assert text.strip() == text != "", (tag, key)
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", everything["en"][key])), key


def test_every_word_is_used_and_every_used_word_is_there():
    code = "\n".join(sources().values())
    used = set(re.findall(r'data-t(?:-label|-placeholder)?="(\w+)"', code)) | set(re.findall(r'\bt\("(\w+)"', code))
    assert used <= words()["en"].keys()
    quoted = set(re.findall(r'"(\w+)"', code)) | {"name", "dir"} | {f"theme_{one}" for one in ("auto", "light", "dark")}
    assert words()["en"].keys() <= used | quoted


def test_nothing_comes_from_outside_and_nothing_is_inline():
    for name, text in sources().items():
        addresses = set(re.findall(r"https?://[^\"'\s)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), name
        assert len(text.splitlines()) <= 400, name
    html = sources()["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src| type=\"module\" src)", html)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_the_colours():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", sources()["style.css"])
    texts = [(ink, ground) for ink in ("ink", "soft", "bad") for ground in ("paper", "pane")]
    texts += [("on-accent", "accent"), ("on-tint", "tint"), ("on-badge", "badge")]
    shapes = [(shape, ground) for shape in ("edge", "accent", "focus") for ground in ("paper", "pane")]
    for theme in (1, 2):
        colour = {pair[0]: pair[theme] for pair in pairs}
        for one, other in texts:
            assert contrast(colour[one], colour[other]) >= 4.5, (one, other, theme)
        for one, other in shapes:
            assert contrast(colour[one], colour[other]) >= 3, (one, other, theme)


# ---- languages of the page ----


def test_from_right_to_left(visit):
    page = arabic(visit)
    assert page.locator("html").get_attribute("dir") == "rtl"
    expect(chip(page, "auto")).to_contain_text("العربية")
    page.locator(".card").first.focus()
    page.keyboard.press("ArrowLeft")  # onwards
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card").nth(0)).to_be_focused()
    first, second = (page.locator(".card").nth(i).bounding_box()["x"] for i in (0, 1))
    assert second < first
    page.locator("#interface").select_option("de")
    assert page.locator("html").get_attribute("dir") == "ltr"
    expect(chip(page, "auto")).to_contain_text("erkannt: Arabisch")
    page.reload()
    expect(page.locator("#compare")).to_have_text("Sprachen vergleichen")


@pytest.mark.parametrize("tag", ["fr", "fa", "zh", "sw"])
def test_the_browser_says_the_language_of_the_page(visit, tag):
    page = visit(locale=tag)
    expect(page.locator("#filters")).to_have_text(words()[tag]["filters"])


# ---- keys, states, looks ----


def test_keys(visit):
    page = visit("/?q=dog")
    expect(page.locator(".card")).to_have_count(40)
    page.locator("#filters").focus()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("ArrowDown")
    cards = page.locator(".card")
    expect(cards.nth(0)).to_be_focused()
    assert page.locator('.card[tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    expect(cards.nth(1)).to_be_focused()
    outline = cards.nth(1).evaluate("(card) => getComputedStyle(card).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowDown")
    below = page.locator(".card:focus").bounding_box()
    assert below["y"] > cards.nth(1).bounding_box()["y"] + 50
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#q")).to_be_focused()


def test_what_goes_wrong_is_said(visit, library):
    page = visit()
    note = page.locator("#note")
    page.locator("#q").fill("nothing")
    expect(note).to_contain_text("Nothing found")
    library.fault = '<img src=x onerror="alert(1)"> is damaged. Run: babelclip index --repair'
    page.locator("#q").fill("dog")
    expect(note).to_contain_text(library.fault)
    expect(note).to_have_attribute("role", "alert")
    library.fault = ""
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card")).to_have_count(40)
    page.context.set_offline(True)
    page.locator("#q").fill("a dog")
    expect(note).to_contain_text("The server does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card")).to_have_count(40)
    expect(note).to_be_hidden()


def test_an_empty_index_says_how_to_fill_it(visit, library):
    library.size = 0
    page = visit()
    expect(page.locator("#note code")).to_have_text("babelclip index FOLDER")
    page.locator("#q").fill("dog")
    expect(page.locator("#note code")).to_have_text("babelclip index FOLDER")


def test_a_token(visit, library):
    library.token = "secret"
    page = visit()
    expect(page.locator("#note")).to_contain_text("opened without its token")
    page = visit("/?token=secret&q=dog")
    expect(page.locator(".card")).to_have_count(40)
    assert "secret" not in page.url


def test_light_and_dark_are_switched_and_kept(visit):
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(15, 23, 42)"
    page.locator("#theme").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: light")
    page.locator("#theme").click()
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: as the system")
    assert page.evaluate(ground) == "rgb(15, 23, 42)"


def test_little_moves_where_little_should(visit, library):
    library.slow = 2
    page = visit("/?q=slow", reduced_motion="reduce")
    expect(page.locator("#wait")).to_be_visible()
    moving = page.locator("#wait").evaluate("(bar) => getComputedStyle(bar, '::after').animationName")
    assert moving == "none"


def test_boxes_keep_their_place(visit):
    page = visit()
    page.route("**/thumbnail/*", lambda route: None)  # never comes
    search(page, "dog")
    boxes = page.locator(".card").evaluate_all("(cards) => cards.map((card) => card.getBoundingClientRect().height)")
    assert all(height > 60 for height in boxes)


TEXTS = """() => {
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.matches(":disabled, option")) continue;
    let behind = element;
    const ground = () => getComputedStyle(behind).backgroundColor;
    while (behind !== document.body && ground() === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    found.push([walker.currentNode.data.trim(), getComputedStyle(element).color, ground()]);
  }
  return found;
}"""


def faint(page) -> list[str]:
    """Texts whose contrast is too small as they are painted."""

    def colour(text: str) -> str:
        red, green, blue = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", text).groups()
        return f"#{int(red):02x}{int(green):02x}{int(blue):02x}"

    return [text for text, ink, ground in page.evaluate(TEXTS) if contrast(colour(ink), colour(ground)) < 4.5]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_looks(visit, tmp_path, scheme, width):
    folder = Path(os.environ.get("BABELCLIP_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    size = {"width": width, "height": 844 if width == 390 else 900, "color_scheme": scheme}

    def shoot(page, name):
        page.wait_for_timeout(250)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert faint(page) == []
        page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")

    page = visit(**size)
    shoot(page, "home")
    page.locator("#filters").click()
    search(page, "a dog by the sea")
    shoot(page, "results")
    page.locator(".card").nth(1).click()
    shoot(page, "view")
    page.keyboard.press("Escape")
    page.locator("#compare").click()
    expect(page.locator(".line .card")).to_have_count(12)
    shoot(page, "compare")
    if (width, scheme) in ((1280, "light"), (390, "dark")):
        shoot(arabic(visit, **size), "arabic")
