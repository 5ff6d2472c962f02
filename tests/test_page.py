"""The page of ``babelclip serve`` in a real browser, before a server that answers as the real one does."""

import re

import pytest

pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright: pip install it")
from playwright.sync_api import expect

from browsing import card_id, chip, give, search, until
from fake_search import jpeg_of

expect.set_options(timeout=15_000)  # a busy machine takes more than the library's 5 seconds

# ---- searching ----


def test_typing_searches_and_says_the_language(visit, library):
    page = visit()
    expect(page.locator("#note")).to_contain_text("Pictures and moments: 40")
    page.locator("#q").press_sequentially("собака", delay=20)
    expect(chip(page, "auto")).to_contain_text("detected: Russian 98%")
    expect(page.locator(".card")).to_have_count(40)
    expect(page.locator("#status")).to_contain_text("Results: 40 of 40")
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert len(library.asked) < len("собака")  # not one search a key
    assert library.asked[-1][0] == {"q": "собака", "language": "auto", "k": "60"}
    expect(page.locator(".moment").first).to_have_text(re.compile(r"\d:\d\d"))
    expect(page.locator(".score").first).to_have_text("0.34")
    page.locator("#q").fill("كلب")
    expect(chip(page, "auto")).to_contain_text("Arabic")
    expect(chip(page, "or")).to_have_text("or Persian?")
    page.locator("#q").fill("123")
    expect(chip(page, "auto")).to_contain_text("no letters, searched as: English")


def test_a_language_is_said_and_unsaid(visit, library):
    page = visit()
    search(page, "كلب")
    chip(page, "or").click()
    expect(chip(page, "fa")).to_have_attribute("aria-pressed", "true")
    expect(chip(page, "auto")).to_have_text("Auto")
    until(page, lambda: library.asked[-1][0]["language"] == "fa")
    assert "language=fa" in page.url
    chip(page, "auto").click()
    expect(chip(page, "auto")).to_contain_text("detected: Arabic 98%")
    assert library.asked[-1][0]["language"] == "auto"
    page.go_back()
    expect(chip(page, "fa")).to_have_attribute("aria-pressed", "true")


def test_late_answers_are_dropped_and_slow_ones_show_a_bar(visit, library):
    library.slow = 1.5
    page = visit()
    page.locator("#q").fill("slow")
    page.keyboard.press("Enter")
    expect(page.locator("#wait")).to_be_visible(timeout=1200)
    page.locator("#q").fill("dog")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Results")
    expect(page.locator("#wait")).to_be_hidden()
    names = page.locator(".card .name").all_text_contents()
    page.wait_for_timeout(1500)  # the slow answer would have come
    assert page.locator(".card .name").all_text_contents() == names
    assert [fields["q"] for fields, _ in library.asked] == ["slow", "dog"]


def test_letters_that_are_being_put_together_wait_longer(visit, library):
    page = visit()
    page.locator("#q").evaluate("""async (box) => {
      box.value = 'い';
      box.dispatchEvent(new InputEvent('input', {isComposing: true}));
      await new Promise((done) => setTimeout(done, 400));
      box.value = '犬';
      box.dispatchEvent(new Event('compositionend'));
    }""")
    expect(chip(page, "auto")).to_contain_text("Japanese")
    assert [fields["q"] for fields, _ in library.asked] == ["犬"]


def test_filters_and_words_to_keep_out(visit, library):
    page = visit()
    search(page, "dog")
    expect(page.locator("#sieve")).to_be_hidden()
    page.locator("#filters").click()
    page.locator('[name="minus"]').fill("cat")
    expect(page.locator('[data-field="minus"]')).to_contain_text("Without: cat")
    page.locator('[name="kind"]').select_option("video")
    page.locator('[name="since"]').fill("2024-01-31")
    page.locator('[name="folder"]').fill("/photos/2024")
    expect(page.locator("#given .chip")).to_have_count(4)
    expect(page.locator(".card")).to_have_count(6)
    wanted = {"q": "dog", "language": "auto", "k": "60", "minus": "cat", "kind": "video", "folder": "/photos/2024",
              "since": "2024-01-31"}  # fmt: skip
    assert library.asked[-1][0] == wanted
    again = visit(page.url[page.url.index("/?") :])
    expect(again.locator(".card")).to_have_count(6)
    expect(again.locator('[name="minus"]')).to_have_value("cat")
    again.locator('[data-field="kind"] button').click()
    expect(again.locator(".card")).to_have_count(40)
    again.locator("#reset").click()
    expect(again.locator("#given")).to_be_hidden()


def test_the_address_holds_the_search_and_the_way_back(visit):
    page = visit("/?q=dog")
    expect(page.locator("#q")).to_have_value("dog")
    expect(page.locator(".card")).to_have_count(40)
    page.locator("#q").press_sequentially("gy")
    page.wait_for_timeout(300)
    page.locator("#q").press_sequentially(" bag")
    page.wait_for_timeout(300)
    assert page.url.endswith("?q=doggy+bag")
    page.go_back()  # one step, however many pauses there were
    expect(page.locator("#q")).to_have_value("dog")
    page.go_forward()
    expect(page.locator("#q")).to_have_value("doggy bag")
    expect(page).to_have_title(re.compile("doggy bag"))


def test_more_results_on_demand(visit, library):
    library.size = 100
    page = visit("/?q=dog")
    expect(page.locator(".card")).to_have_count(60)
    page.locator("#more").click()
    expect(page.locator(".card")).to_have_count(100)
    expect(page.locator("#more")).to_be_hidden()


# ---- pictures as questions ----


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_picture_is_searched_by_and_combined_with_words(visit, library, tmp_path, way):
    page, picture = visit(), jpeg_of(3, (64, 64))
    if way == "choose":
        (tmp_path / "mine.jpg").write_bytes(picture)
        page.locator("#file").set_input_files(tmp_path / "mine.jpg")
    else:
        said = give(page, way, "mine.jpg", "image/jpeg", picture)
        assert said == ([True, True] if way == "drop" else None)
    given = page.locator('[data-field="image"]')
    expect(given).to_contain_text("mine.jpg")
    expect(page.locator(".card")).to_have_count(40)
    assert library.asked[-1] == ({"language": "auto", "k": "60"}, picture)
    search(page, "at night")
    expect(chip(page, "auto")).to_contain_text("English")
    assert library.asked[-1] == ({"q": "at night", "language": "auto", "k": "60"}, picture)
    given.get_by_role("button").click()
    expect(given).to_have_count(0)
    until(page, lambda: library.asked[-1][1] == b"")
    page.go_back()
    expect(given).to_contain_text("mine.jpg")


# ---- the large view ----


def test_a_picture_is_dropped_onto_the_large_view(visit, library):
    page = visit("/?q=dog")
    page.locator(".card").first.click()
    give(page, "drop", "mine.jpg", "image/jpeg", jpeg_of(3, (64, 64)))
    expect(page.locator("#view")).to_be_hidden()
    expect(page.locator('[data-field="image"]')).to_contain_text("mine.jpg")
    assert library.asked[-1][0]["q"] == "dog"


def test_the_large_view(visit, library):
    page = visit("/?q=dog&kind=picture")
    card = page.locator(".card").nth(2)
    name = card.locator(".name").inner_text()
    card.click()
    view = page.locator("#view")
    expect(view).to_contain_text(name)
    expect(view).to_contain_text("/photos/2024/")
    expect(view).to_contain_text("May 1, 2024")
    expect(view.locator("img")).to_have_js_property("complete", True)
    assert "view=" in page.url
    library.damaged = True
    page.keyboard.press("ArrowRight")
    expect(view).not_to_contain_text(name)
    expect(view).to_contain_text("The browser cannot show this file")
    library.damaged = False
    page.keyboard.press("ArrowLeft")
    expect(view).to_contain_text(name)
    page.keyboard.press("Escape")
    expect(view).to_be_hidden()
    expect(page).not_to_have_url(re.compile("view="))
    expect(card).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Find similar").click()
    expect(view).to_be_hidden()
    expect(page.locator('[data-field="like"]')).to_contain_text("like this picture")
    assert library.asked[-1][0] == {"like": card_id(page), "language": "auto", "k": "60", "kind": "picture"}
    page.go_back()
    expect(view).to_be_visible()
    page.go_back()
    expect(view).to_be_hidden()
    expect(page.locator("#q")).to_have_value("dog")


def test_a_video_begins_at_its_moment(visit, library):
    page = visit("/?q=dog&kind=video")
    moment = page.locator(".card .moment").first.inner_text().strip()
    page.locator(".card").first.click()
    expect(page.locator("#view")).to_contain_text(f"{moment} / 1:15")
    page.wait_for_function("document.querySelector('#view video').currentTime > 0.4")
    at = page.locator("#view video").evaluate("(video) => video.currentTime")
    assert f"0:0{int(at)}" == moment


# ---- languages ----


def test_a_pack_is_installed_by_dropping_it(visit, library):
    page = visit("/?q=dog")
    expect(chip(page, "sw")).to_have_count(0)
    give(page, "drop", "sw.babelpack", "", b"PK pack")
    expect(page.locator(".toast.good")).to_contain_text("Language installed: Swahili")
    expect(chip(page, "sw")).to_have_text("Kiswahili")
    assert library.packs == [b"PK pack"]
    give(page, "drop", "bad.babelpack", "", b"no pack")
    expect(page.locator(".toast.bad")).to_contain_text("this is not a pack: its file is damaged. Load it down again.")
    give(page, "drop", "notes.txt", "text/plain", b"hello")
    expect(page.locator(".toast.bad").last).to_contain_text("notes.txt is neither a picture nor a .babelpack.")


def test_many_languages_are_folded(visit, library):
    library.languages += [
        {"tag": f"x{letter}", "name": f"Language {letter}", "own_name": f"X{letter}", "base": False}
        for letter in "abcdefghijklmnop"
    ]
    page = visit("/?q=dog&language=xp")
    expect(chip(page, "xp")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#languages .chip")).to_have_count(1 + 10 + 1 + 1)
    chip(page, "fold").click()
    expect(page.locator("#languages .chip")).to_have_count(1 + 22 + 1)


def test_languages_are_compared(visit, library):
    page = visit("/?q=same")
    expect(page.locator(".card")).to_have_count(40)
    page.locator("#compare").click()
    lines = page.locator(".line")
    expect(lines).to_have_count(2)
    expect(lines.nth(0).locator("input")).to_have_value("same")
    lines.nth(1).locator("select").select_option("ar")
    lines.nth(1).locator("input").fill("same")
    expect(lines.nth(1).locator(".card")).to_have_count(12)
    expect(lines.nth(1).locator(".shared")).to_contain_text("of 12 also in the first row")
    page.locator("#add-line").click()
    expect(lines).to_have_count(3)
    lines.nth(2).locator("input").fill("same")
    expect(lines.nth(2).locator(".card")).to_have_count(12)
    assert [line["language"] for line, _ in library.asked[-2:]] == ["ar", "de"]
    ids = "(cards) => cards.map((card) => card.dataset.id)"
    first, second = (lines.nth(i).locator(".card").evaluate_all(ids) for i in (0, 1))
    both = next(one for one in first if one in second)
    lines.nth(0).locator(f'[data-id="{both}"]').hover()
    expect(lines.nth(1).locator(f'[data-id="{both}"]')).to_have_class(re.compile("same"))
    again = visit(page.url[page.url.index("/?") :])
    expect(again.locator(".line .card")).to_have_count(36)
    again.locator(".drop-line").nth(2).click()
    expect(again.locator(".line")).to_have_count(2)
    again.locator(".line .card").first.click()
    expect(again.locator("#view")).to_be_visible()
    again.keyboard.press("Escape")
    again.locator("#compare").click()
    expect(again.locator("#q")).to_have_value("same")
    expect(again.locator("#grid .card")).to_have_count(40)
