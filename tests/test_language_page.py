"""The page for people who speak a language: its figures, and that nothing in a caption can break it."""

import base64
import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from babelclip import TaskSettings
from babelclip.cli.main import app
from babelclip.config import change_settings
from babelclip.data import Examples, Teacher, read_captions
from babelclip.data.examples import base_lexicon
from babelclip.errors import DataError, SettingError, UnknownNameError
from babelclip.packs import Polyglot, install_pack, learn_pack, pack_recipe, save_pack
from babelclip.report.language import Source, make_page, write_language_page
from babelclip.report.language.appeal import as_learnt, choose_rows, commands
from babelclip.report.language.coverage import measure
from babelclip.report.language.mixups import OFTEN, find_in_the_way, find_pairs, find_same_words
from babelclip.report.language.page import in_hundred
from babelclip.report.language.searches import run_searches
from babelclip.report.language.thumbnails import thumbnail
from babelclip.report.language.words import find_telling_words, fisher_p, is_spaceless, parts_of

HOSTILE = ['<script>alert("1")</script>', "' onload=x \" <img src=http://evil.example/x>", "\u202egnorw & \u2066open"]


def invoke(*arguments, code=0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    empty = Polyglot(tiny, base_lexicon(tiny))
    settings = TaskSettings(vocab_size=400, batch_size=8, epochs=20, learning_rate=1e-2, idle_decay=False)
    return empty.install(learn_pack(empty, "de", examples["de"], settings=settings)[0])


@pytest.fixture(scope="module")
def packs(polyglot, tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "mine"
    install_pack(folder, polyglot.packs["de"], polyglot.encoder)
    return folder


@pytest.fixture(scope="module")
def source(captions):
    return Source("mine", True, "de.tsv", "0" * 64, captions, ("image", "en", "de"))


def at(*degrees):
    return torch.tensor([[math.cos(math.radians(one)), math.sin(math.radians(one))] for one in degrees])


def by_hand(texts, owner, images=(0, 40, 100, 200), captions=None):
    """Vectors in the plane: the nearest direction is found first, so that places can be counted by eye."""
    count = len(owner)
    return at(*texts), Examples(
        "de", captions or [f"c{i}" for i in range(count)], [f"e{i}" for i in range(count)],
        [Path(f"{i}.png") for i in range(len(images))], torch.tensor(owner), at(*images),
        at(*(images[one] for one in owner)),
    )  # fmt: skip


def test_places_and_shares_are_those_counted_by_hand():
    # Pictures at 0, 40, 100, 200 degrees. Caption: direction, own picture -> place.
    # 0: 5, 0 -> 1; 1: 10, 40 -> 2; 2: 15, 100 -> 3; 3: 200, 200 -> 1; 4: 90, 0 -> 3 (second caption of picture 0)
    searches = run_searches(*by_hand((5, 10, 15, 200, 90), [0, 1, 2, 3, 0]))
    first, ten = searches.scores
    assert (first.cut, first.own, first.english, first.chance) == (1, pytest.approx(40), 100, 25)
    assert (ten.cut, ten.own, ten.english, ten.chance) == (10, 100, 100, 100)
    assert first.low <= 40 <= first.high
    assert searches.ranks.tolist() == [1, 2, 3, 1, 3]
    assert searches.instead.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [2, 1, 0], [2, 1, 3]]
    assert searches.margin.tolist()[0] == pytest.approx(math.cos(math.radians(5)) - math.cos(math.radians(35)))
    assert [one.caption for one in searches.best(8)] == [3, 0], "the largest margin first"
    assert [(one.caption, one.first, one.last, one.english) for one in searches.worst(8)] == [
        (2, 3, 3, 1), (4, 3, 3, 1), (1, 2, 2, 1)
    ]  # fmt: skip
    assert len(searches.worst(1)) == len(searches.best(1)) == 1
    assert [(pair.pictures, pair.captions) for pair in find_pairs(searches)] == [((0, 2), (2, 4))]
    assert find_in_the_way(searches) == []


def test_a_picture_is_shown_once_and_level_pictures_share_their_places():
    searches = run_searches(*by_hand((0, 1, 110, 220), [0, 0, 1, 2], images=(0, 100, 220)))
    assert [one.caption for one in searches.best(8)] == [3, 2, 0], "caption 1 is of the same picture as caption 0"
    level = run_searches(*by_hand((0, 0, 90), [0, 1, 2], images=(0, 0, 90)))
    assert [(one.first, one.last) for one in map(level.search, range(3))] == [(1, 2), (1, 2), (1, 1)]
    assert [one.caption for one in level.best(8)] == [2], "who shares the first place has not won"


def test_pictures_that_stand_in_the_way_and_captions_that_say_the_same():
    texts = ["Katze", "Hund", "hund", "Hund", "Katze", "Maus"]
    owner, images = [0, 1, 2, 3, 4, 4], (0, 40, 100, 200, 260)
    vectors, examples = by_hand((0, 1, 2, 3, 260, 260), owner, images=images, captions=texts)
    searches = run_searches(vectors, examples)
    (one,) = find_in_the_way(searches)
    assert (one.picture, one.captions) == (0, (1, 2, 3))
    assert len(one.captions) == OFTEN
    same = [(one.text, one.pictures) for one in find_same_words(texts, searches)]
    assert same == [("Hund", (1, 2, 3)), ("Katze", (0, 4))]
    assert find_pairs(searches) == []
    assert find_pairs(run_searches(*by_hand((95, 100), [0, 1], images=(0, 100)))) == [], "mixed up one way only"


def test_the_exact_test_counts_what_can_happen():
    def slow(bad_with, good_with, bad, good):
        draws = list(combinations(range(bad + good), bad_with + good_with))
        return sum(sum(i < bad for i in draw) >= bad_with for draw in draws) / len(draws)

    for case in ((3, 0, 3, 3), (2, 1, 4, 5), (0, 3, 4, 4), (4, 2, 5, 6), (1, 0, 1, 9)):
        assert fisher_p(*case) == pytest.approx(slow(*case)), case


def test_only_words_with_evidence_are_listed():
    good = [False] * 20 + [True] * 80
    texts = [f"auto n{i}" for i in range(12)] + [f"rest n{i}" for i in range(12, 100)]
    assert [(one.word, one.bad, one.good) for one in find_telling_words(texts, good)] == [("auto", 12, 0)]
    assert find_telling_words(["auto", *["x"] * 9], [False] + [True] * 9) == [], "one caption is no evidence"
    chance = torch.Generator().manual_seed(0)
    pages = 0
    for _ in range(100):
        words = [" ".join(f"w{int(i)}" for i in torch.randint(20, (3,), generator=chance)) for _ in range(60)]
        pages += bool(find_telling_words(words, (torch.rand(60, generator=chance) < 0.6).tolist()))
    assert pages <= 8, "where words mean nothing, at most 5 of 100 pages list one"


def test_scripts_without_spaces_are_taken_apart():
    assert parts_of("红色的 苹果 OK!") == {"红", "色", "的", "红色", "色的", "苹", "果", "苹果", "ok"}
    assert parts_of("Ein «Haus», ein—Baum") == {"ein", "haus", "ein—baum"}
    assert is_spaceless(["红苹果 on"])
    assert is_spaceless(["แมวสีแดง"])
    assert not is_spaceless(["قطة حمراء", "빨간 고양이"])


def test_the_page_says_what_evaluate_says(polyglot, examples, source):
    page = make_page(polyglot, examples["de"], source)
    scores = polyglot.evaluate(examples["de"], language="de")
    assert 0 < scores["img_r1"] < 100, "figures that can be mistaken for others"
    shown = re.findall(r'class="value">([0-9.]+) %', page)
    english = polyglot.evaluate(replace(examples["de"], texts=examples["de"].english), language="en")
    expected = [
        value for k, chance in ((1, 100 / 24), (10, 1000 / 24))
        for value in (scores[f"img_r{k}"], english[f"img_r{k}"], chance)
    ]  # fmt: skip
    assert shown == [f"{value:.1f}" for value in expected]
    assert f"<strong>{in_hundred(scores['img_r1'])}</strong>" in page
    assert "24 captions were searched for among 24 pictures." in page
    assert "Careful:" in page, "these are the captions that the pack was learnt from"
    assert "Careful:" not in make_page(polyglot, replace(examples["de"], english=["x"] * 24), source)


class Strict(HTMLParser):
    """Collects tags and checks that they close."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.heads = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.heads.append(int(tag[1]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(page):
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_nothing_in_a_caption_breaks_the_page_or_asks_for_anything(polyglot, examples, source):
    texts = [f"{HOSTILE[i % 3]} {i}" for i in range(24)]
    hostile = replace(examples["de"], texts=texts, english=texts)
    page = make_page(polyglot, hostile, replace(source, data=f"{HOSTILE[0]}.tsv", model=HOSTILE[2]))
    parser = parse(page)
    names = {tag for tag, _ in parser.tags}
    assert not names & {"script", "link", "iframe", "object", "form", "base", "svg"}
    assert all(address.startswith(("data:image/webp;base64,", "data:text/tab-separated-values;"))
               for address in parser.addresses)  # fmt: skip
    assert not any(name.startswith("on") for _, attributes in parser.tags for name in attributes)
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in next(a["content"] for t, a in parser.tags if t == "meta" and "http-equiv" in a)
    # What turns the direction of writing around stands only where it ends with its element.
    for before in re.findall(r"<([^<>]*)>[^<>]*\u202e", page):
        assert before.split()[0] in ("bdi", "pre") or 'dir="auto"' in before, before


def test_the_page_can_be_heard_and_read(polyglot, examples, source):
    parser = parse(make_page(polyglot, examples["de"], source))
    assert parser.heads[0] == 1
    assert parser.heads.count(1) == 1
    assert all(later - before <= 1 for before, later in zip(parser.heads, parser.heads[1:], strict=False))
    assert all("alt" in attributes for tag, attributes in parser.tags if tag == "img")
    assert any(attributes.get("alt", "").startswith("Picture: a ") for _, attributes in parser.tags)
    texts = [attributes for tag, attributes in parser.tags if attributes.get("class") == "text"]
    assert texts
    assert all((one["lang"], one["dir"]) == ("de", "auto") for one in texts)
    assert {"main", "header", "footer", "section", "ol", "figcaption"} <= {tag for tag, _ in parser.tags}


def test_colours_can_be_told_from_the_paper(polyglot, examples, source):
    page = make_page(polyglot, examples["de"], source)

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    themes = re.findall(r":root \{([^}]*--ink[^}]*)\}", page)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for paper in ("paper", "pane"):
            for ink, least in (("ink", 4.5), ("soft", 4.5), ("link", 4.5), ("good", 3), ("fill", 3)):
                dark, bright = sorted((light(colours[ink]), light(colours[paper])))
                assert (bright + 0.05) / (dark + 0.05) >= least, (ink, paper)


def test_the_same_input_gives_the_same_bytes(polyglot, examples, source, tmp_path):
    for name in ("a.html", "b.html"):
        write_language_page(polyglot, examples["de"], tmp_path / name, source)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.html", "b.html"], "captions stand nowhere else"


def test_pictures_travel_without_what_the_camera_wrote(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "SECRET CAMERA"
    Image.new("RGB", (400, 200), "red").save(tmp_path / "a.jpg", exif=exif, comment=b"SECRET PLACE")
    uri = thumbnail(tmp_path / "a.jpg")
    content = base64.b64decode(uri.partition(",")[2])
    assert b"SECRET" not in content
    assert Image.open(io.BytesIO(content)).size == (144, 72)
    with pytest.raises(DataError, match="no such picture"):
        thumbnail(tmp_path / "b.jpg")


def test_what_training_never_had_is_found(polyglot, examples):
    known = examples["de"]
    assert measure(polyglot, "de", known.texts, known.english).unseen.captions == 0
    texts = [*known.texts[:2], "ein yж", "ein ж"]
    found = measure(polyglot, "de", texts, known.english[:4])
    assert found.unseen.captions == 2
    assert dict(found.unseen.words) == {"yж": 1, "ж": 1}
    assert dict(found.unseen.characters) == {"ж": 2, "y": 1}
    assert found.base.per_word > found.pack.per_word > 0.5
    assert found.english.per_text == pytest.approx(3, abs=1)
    assert max(one.pieces for one in found.most) == found.most[0].pieces >= 2
    assert "".join(found.most[0].shown) == found.most[0].word
    assert found.cut == 0
    long = measure(polyglot, "de", ["ein Quadrat " * 60, "rot"], ["a", "b"])
    assert (long.cut, long.limit) == (1, polyglot.base.frame.room)
    pack = polyglot.packs["de"]
    built = replace(pack, card=pack.card.model_copy(update={"settings": {}}))
    other = measure(polyglot.install(built, replace=True), "de", texts, known.english[:4])
    assert other.unseen is None
    assert "not learnt alone" in other.unknown


def test_languages_that_are_not_recognised(polyglot, examples, source, monkeypatch):
    routes = SimpleNamespace(
        tags=["de", "en", "fr", *["de"] * 21], probability=torch.tensor([0.9, 0.6, 0.8, *[1.0] * 21])
    )
    monkeypatch.setattr(polyglot, "route", lambda texts: routes)
    page = make_page(polyglot, examples["de"], source)
    assert "2 of 24 captions are taken for another language." in page
    assert page.index("taken for French (80 % sure)") < page.index("taken for English (60 % sure)")
    silent = polyglot.install(replace(polyglot.packs["de"], profiles=None), replace=True)
    assert "The packs de were built without captions" in make_page(silent, examples["de"], source)


def test_the_table_to_fill_in_can_be_used(polyglot, examples, source, captions, tmp_path):
    one = examples["de"]
    page = make_page(polyglot, one, source)
    table = unquote(re.search(r'href="data:text/tab-separated-values;charset=utf-8,([^"]*)"', page)[1])
    lines = table.splitlines()
    assert lines[0] == "image\ten\tde"
    searches = run_searches(polyglot.encode_texts(one.texts, language="de"), one)
    missed = {one.files[int(one.owner[i])].name for i, rank in enumerate(searches.ranks.tolist()) if rank > 10}
    assert {line.split("\t")[0] for line in lines[1:]} == missed
    assert all(line.endswith("\t") for line in lines[1:])
    file = tmp_path / "filled.tsv"
    file.write_text("\n".join([lines[0], *(f"{line}neu" for line in lines[1:])]) + "\n", encoding="utf-8")
    assert len(read_captions(file, "de", images=captions).captions) == len(missed)


def test_english_too_stands_at_its_best_place_where_pictures_are_level():
    worst = run_searches(*by_hand((90,) * 4, [0, 1, 2, 3], images=(0, 0, 0, 90))).worst(3)
    assert [(one.first, one.last, one.english) for one in worst] == [(2, 4, 1)] * 3


def test_pictures_that_english_finds_are_asked_for_first():
    # All captions point at picture 0 of 16, 10 degrees apart: places 1 to 16. English misses the last picture.
    vectors, examples = by_hand([-1] * 16, list(range(16)), images=range(0, 160, 10))
    english = torch.cat([examples.teachers[:15], at(0)])
    searches = run_searches(vectors, replace(examples, teachers=english))
    assert [row.image for row in choose_rows(searches, examples, None)] == [
        "14.png", "13.png", "12.png", "11.png", "10.png", "15.png"
    ]  # fmt: skip
    assert len(choose_rows(searches, examples, None, count=2)) == 2


def test_commands_say_how_it_was_learnt_and_name_no_folders_of_this_machine(polyglot):
    card = polyglot.packs["de"].card.model_copy(update={"language": "sw"})
    learn, page = commands(card, "my packs", "t.tsv", " --english-column eng", as_before="", folder=True)
    assert learn == (
        "babelclip learn --language sw --data TRAINING.tsv --english-column eng --out 'my packs' --replace"
    )
    assert page.startswith("babelclip report language sw --model 'my packs' --data t.tsv --english-column eng --out")
    learn, _ = commands(card, "sw.babelpack", "t.tsv", "", as_before=" --rows int8", folder=False)
    assert learn.endswith("--rows int8 --base tiny --out sw-2.babelpack"), "one file cannot be replaced"
    told = as_learnt(card, pack_recipe("tiny"))
    assert set(told.split(" --set ")) == {"", "vocab_size=400", "batch_size=8", "epochs=20", "learning_rate=0.01"}
    settings = change_settings(pack_recipe("tiny"), told.split(" --set ")[1:])
    assert as_learnt(card, settings) == ""
    assert settings.as_dict() | {"start": "random"} == card.settings
    warm = card.model_copy(update={"settings": {**card.settings, "start": "pairs"}})
    assert as_learnt(warm, settings) == " --start pairs"
    other = card.model_copy(update={"method": "cll+teir", "rows": "int8", "licence": "CC BY 4.0"})
    assert as_learnt(other, settings) == " --method cll+teir --rows int8 --licence 'CC BY 4.0'"
    assert as_learnt(card.model_copy(update={"settings": {}, "method": "built from a shared lexicon"}), settings) == ""


def test_the_command_writes_the_page(packs, captions, polyglot, tmp_path):
    common = ("--data", captions / "de.tsv", "--device", "cpu")
    printed = invoke("report", "language", "de", "--model", packs, *common, "--out", tmp_path / "de.html")
    assert "open it in a browser" in printed
    page = (tmp_path / "de.html").read_text(encoding="utf-8")
    assert "How well does it know German?" in page
    assert str(captions) not in page
    assert str(packs.parent) not in page
    save_pack(polyglot.packs["de"], tmp_path / "x.babelpack")
    base = str(polyglot.encoder.name)
    invoke("report", "language", "de", "--model", tmp_path / "x.babelpack", "--base", base, *common, "--out",
           tmp_path / "2.html")  # fmt: skip
    assert "--out x-2.babelpack" in (tmp_path / "2.html").read_text(encoding="utf-8")


def test_with_vectors_ids_stand_in_for_pictures(packs, captions, tiny, tmp_path):
    names = sorted(file.name for file in captions.glob("[0-9]-[0-9].png"))
    np.save(tmp_path / "v.npy", tiny.encode_images([captions / name for name in names]).numpy())
    (tmp_path / "v.ids.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "de.tsv").write_text((captions / "de.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    invoke("report", "language", "de", "--model", packs, "--data", tmp_path / "de.tsv", "--image-vectors",
           tmp_path / "v.npy", "--device", "cpu", "--out", tmp_path / "de.html")  # fmt: skip
    page = (tmp_path / "de.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "<bdi>0-0.png</bdi>" in page
    assert "--image-vectors v.npy" in page


@pytest.mark.parametrize(
    ("language", "change", "kind", "message"),
    [
        ("sw", {}, UnknownNameError, "unknown installed language 'sw'. Known: de"),
        ("en", {}, UnknownNameError, "unknown installed language 'en'. Known: de. English is the base"),
        ("german", {}, DataError, "Did you mean 'de'"),
        ("de", {"--out": "de.tsv"}, SettingError, "does not end in .html. Write --out de.html"),
        ("de", {"--model": "pictoclip"}, SettingError, "neither a folder of packs nor a pack"),
        ("de", {"--data": "no.tsv"}, DataError, "there is no such file"),
    ],
)
def test_mistakes_are_named(language, change, kind, message, packs, captions, tmp_path):
    options = {"--model": packs, "--data": captions / "de.tsv", "--out": tmp_path / "p.html"} | change
    with pytest.raises(kind, match=message):
        invoke("report", "language", language, *(part for pair in options.items() for part in pair))
    assert list(tmp_path.iterdir()) == []


def test_one_picture_is_no_test(polyglot, tiny, captions, source, tmp_path):
    (tmp_path / "de.tsv").write_text(f"image\ten\tde\n{captions / '0-0.png'}\ta\tb\n", encoding="utf-8")
    with pytest.raises(SettingError, match="de.tsv has only one picture"):
        make_page(polyglot, Teacher(tiny).prepare(read_captions(tmp_path / "de.tsv", "de")), source)


def test_shares_never_claim_more_than_there_is():
    shown = {0: "none", 0.4: "fewer than 1", 1: "1", 62.4: "62", 99.6: "more than 99", 100: "all 100"}
    assert {percent: in_hundred(percent) for percent in shown} == shown
