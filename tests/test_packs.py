"""Packs: what they hold, that they are whole, and that no language touches another."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.encoders import encode_tokens, load_encoder
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.errors import BabelclipError, DataError, FormatError, ModelError, SettingError, UnknownNameError
from babelclip.packs import (
    Polyglot,
    install_pack,
    learn_pack,
    list_installed,
    load_card,
    load_pack,
    load_polyglot,
    make_pack,
    remove_pack,
    save_pack,
)
from babelclip.packs.installed import base_of, begin_folder
from babelclip.packs.quantise import pack_rows, unpack_rows
from babelclip.packs.store import pack_files
from babelclip.packs.verify import verify_polyglot

ENGLISH = ["a red square", "two blue walls and a field", "green", ""]
TEXTS = {"de": ["ein quadrat in rot", "grün", "eine wand"], "ru": ["красный квадрат", "стена", "белый"],
         "nl": ["een veld", "quadrat", "rot"], "uk": ["синій квадрат", "стіна", "x"],
         "bg": ["червен квадрат", "стена", "поле"], "fr": ["un mur", "rouge", "un champ"]}  # fmt: skip
METHODS = {"de": "cll", "ru": "cll", "nl": "teir", "uk": "mla", "bg": "mla", "fr": "mla(inner=4)+lora"}


@pytest.fixture(scope="module")
def empty(tiny):
    return Polyglot(tiny, base_lexicon(tiny))


@pytest.fixture(scope="module")
def packs(tiny, examples, empty):
    """Six languages (two sets of captions under six tags), learnt with and without modules."""
    quick = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, idle_decay=False)
    found = {}
    for tag, method in METHODS.items():
        source = examples["ru" if tag in ("ru", "uk", "bg") else "de"]
        found[tag], _ = learn_pack(empty, tag, replace(source, language=tag), method=method, settings=quick)
    return found


@pytest.fixture(scope="module")
def polyglot(tiny, empty, packs):
    return Polyglot(tiny, empty.base, packs.values())


def test_a_pack_gives_the_vectors_of_the_student_that_learnt_it(tiny, examples, empty, quick):
    settings = replace(quick, idle_decay=False)
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], method="mla", settings=settings)
    pack, report = learn_pack(empty, "de", examples["de"], method="mla", settings=settings, rows="float32")
    found = empty.install(pack).encode_texts(TEXTS["de"], language="de")
    torch.testing.assert_close(found, student.encode_texts(TEXTS["de"], language="de"), rtol=0, atol=1e-5)
    assert report.steps == 6
    assert pack.card.data.texts == 24
    used = set(student.lexicon.encode(examples["de"].texts)[0])
    assert used <= set(pack.ids.tolist()), "rows of the base model that were trained are the pack's own copies"
    assert len(pack.rows) < len(student.lexicon.table), "rows that no text uses are not in it"
    again = pack.learnt(empty.base).encode(tiny, TEXTS["de"], "de", snapshot=True)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-5)


def test_by_default_rows_that_no_text_uses_stay_the_base_models(empty, examples):
    pack, _ = learn_pack(empty, "de", examples["de"])
    assert pack.card.settings["idle_decay"] is False
    assert len(pack.rows) < len(empty.base.table) / 2


def test_english_and_pictures_are_exact_whatever_is_installed(tiny, polyglot, captions):
    base = polyglot.base
    plain = encode_tokens(tiny, base.table, base.encode(ENGLISH))
    assert torch.equal(polyglot.encode_texts(ENGLISH, language="en"), plain)
    pictures = sorted(captions.glob("0-*.png"))
    assert torch.equal(polyglot.encode_images(pictures), tiny.encode_images(pictures))
    assert polyglot.languages == ["en", "bg", "de", "fr", "nl", "ru", "uk"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(sorted(METHODS)), max_size=12))
def test_install_and_remove_in_any_order_leave_every_language_as_if_it_were_alone(empty, packs, steps):
    polyglot = empty
    for tag in steps:  # a language that is there is removed, one that is not is installed
        polyglot = polyglot.remove(tag) if tag in polyglot.packs else polyglot.install(packs[tag])
    assert torch.equal(polyglot.encode_texts(ENGLISH, language="en"), empty.encode_texts(ENGLISH, language="en"))
    for tag in polyglot.packs:
        alone = empty.install(packs[tag]).encode_texts(TEXTS[tag], language=tag)
        assert torch.equal(polyglot.encode_texts(TEXTS[tag], language=tag), alone)


def test_texts_of_all_languages_take_one_pass(polyglot, monkeypatch):
    texts = [text for tag in METHODS for text in TEXTS[tag]] + ENGLISH
    tags = [tag for tag in METHODS for _ in TEXTS[tag]] + ["en"] * len(ENGLISH)
    apart = torch.cat([polyglot.encode_texts(TEXTS[tag], language=tag) for tag in METHODS])
    apart = torch.cat([apart, polyglot.encode_texts(ENGLISH, language="en")])
    calls, run = [], FrozenTextTower.__call__

    def counted(*arguments):
        calls.append(1)
        return run(*arguments)

    monkeypatch.setattr(FrozenTextTower, "__call__", counted)
    torch.testing.assert_close(polyglot.encode_texts(texts, language=tags), apart, rtol=0, atol=2e-6)
    assert len(calls) == 1


def test_texts_without_a_language_go_where_the_router_sends_them(polyglot, empty):
    texts = ["красный квадрат", "ein quadrat in rot", "2024", "a green wall"]
    routes = polyglot.route(texts)
    told = polyglot.encode_texts(texts, language=routes.tags)
    assert routes.tags[0] in ("ru", "uk", "bg")
    assert routes.tags[2] == "en", "no letters: the base model's own"
    for unknown in (None, "auto", [None, "auto", None, None]):
        assert torch.equal(polyglot.encode_texts(texts, language=unknown, blend=False), told)
    some = polyglot.encode_texts(texts, language=["fr", None, "en", "auto"], blend=False)
    assert torch.equal(some, polyglot.encode_texts(texts, language=["fr", routes.tags[1], "en", routes.tags[3]]))
    assert torch.equal(empty.encode_texts(texts), empty.encode_texts(texts, language="en")), (
        "with no pack all texts are the base model's"
    )
    assert empty.route(texts)[0].probability == 1


def test_texts_that_are_not_sure_are_blended_by_probability(polyglot):
    """The packs of de and nl learnt the same texts, so neither can be sure."""
    texts = ["ein quadrat in rot", "2024", "красный квадрат"]
    routes = polyglot.route(texts)
    assert routes.unsure.tolist() == [True, False, True]
    found = polyglot.encode_texts(texts)
    for text in (0, 2):
        one = routes[text]
        best, next_best = (polyglot.encode_texts([texts[text]], language=tag)[0] for tag in (one.tag, one.second))
        share = one.probability / (one.probability + one.second_probability)
        expected = best.norm() * (share * best / best.norm() + (1 - share) * next_best / next_best.norm())
        torch.testing.assert_close(found[text], expected, rtol=0, atol=2e-6)
    told = polyglot.encode_texts(texts, language=routes.tags)
    torch.testing.assert_close(found[1], told[1], rtol=0, atol=2e-6)
    assert not torch.allclose(found[0], told[0], rtol=0, atol=1e-4), "a language that is told is never blended"


def test_languages_that_are_not_there_are_named(polyglot, packs):
    with pytest.raises(UnknownNameError, match="unknown installed language 'sw'.*Known: bg, de, en, fr, nl, ru, uk"):
        polyglot.encode_texts(["mbwa"], language="sw")
    with pytest.raises(SettingError, match=r"texts is 'mbwa', one and no list\. Write \['mbwa'\]"):
        polyglot.encode_texts("mbwa")
    with pytest.raises(SettingError, match=r"files is 'a\.png', one and no list"):
        polyglot.encode_images("a.png")
    with pytest.raises(SettingError, match="1 texts, but 2 languages"):
        polyglot.encode_texts(["x"], language=["de", "ru"])
    with pytest.raises(UnknownNameError, match="installed language 'sw'"):
        polyglot.remove("sw")
    with pytest.raises(SettingError, match="two packs for 'de'"):
        polyglot.install(packs["de"])
    assert polyglot.install(packs["de"], replace=True).languages == polyglot.languages


@pytest.mark.parametrize("language", [None, "en", "de"])
def test_a_text_with_half_of_a_surrogate_pair_is_named(polyglot, language):
    with pytest.raises(DataError, match=r"the text 'gr\\udcfcn' holds half of a surrogate pair"):
        polyglot.encode_texts(["grün", "gr\udcfcn"], language=language)


def test_a_language_is_removed_however_its_tag_is_written_but_never_the_base_models_own(polyglot):
    assert polyglot.remove(" DE").languages == [tag for tag in polyglot.languages if tag != "de"]
    with pytest.raises(SettingError, match="'en' is the base model's own language and cannot be removed. Name an inst"):
        polyglot.remove("EN")


@pytest.mark.parametrize("name", ["sw.babelpack", "sw"])
@pytest.mark.parametrize("tag", ["de", "uk", "fr"])
def test_a_pack_comes_back_from_disk_bit_for_bit(tiny, empty, packs, tmp_path, tag, name):
    path = tmp_path / name
    save_pack(packs[tag], path)
    found = load_pack(path, tiny, empty.base)
    assert found.card == load_card(path)
    assert found.card.model_copy(update={"files": {}}) == packs[tag].card
    assert found.vocabulary == packs[tag].vocabulary
    assert torch.equal(found.ids, packs[tag].ids)
    assert torch.equal(found.rows, packs[tag].rows)
    mine, theirs = (one.acquirers.tensors() for one in (packs[tag], found))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert pack_files(found) == pack_files(packs[tag]), "the same bytes"
    other = tmp_path / f"again-{name}"
    save_pack(found, other)
    if path.is_file():
        assert path.read_bytes() == other.read_bytes()
    with pytest.raises(SettingError, match="exists"):
        save_pack(found, path)


def test_rows_are_stored_in_half_or_a_quarter(packs, empty, tiny):
    rows = torch.randn(50, 32, generator=torch.Generator().manual_seed(1))
    rows[7] = 0
    for dtype, limit in (("float32", 0.0), ("float16", 2e-3), ("int8", 0.51 / 127)):
        back = unpack_rows(pack_rows(rows, dtype), dtype)
        most = rows.abs().amax(dim=1, keepdim=True)
        assert bool(((back - rows).abs() <= limit * most + 1e-12).all()), dtype
        assert torch.equal(unpack_rows(pack_rows(back, dtype), dtype), back), "rounded once, rounded for ever"
    assert torch.equal(back[7], rows[7])
    assert pack_rows(rows, "int8")["rows"].dtype == torch.int8
    with pytest.raises(ModelError, match="1e\\+05, too large for float16"):
        pack_rows(rows * 0 + 1e5, "float16")
    with pytest.raises(ModelError, match="not finite"):
        pack_rows(rows / 0, "int8")


def test_what_belongs_to_several_languages_is_no_pack(tiny, examples, empty, quick, foreign):
    with pytest.raises(SettingError, match="coda has modules that languages share"):
        learn_pack(empty, "de", examples["de"], method="coda", settings=quick)
    with pytest.raises(SettingError, match="'en' is the base model's own language"):
        learn_pack(empty, "en", replace(examples["de"], language="en"), settings=quick)
    foreign.learn("de", examples["de"], method="cll", settings=quick)
    with pytest.raises(SettingError, match="multilingual lexicon belong to all languages"):
        make_pack(tiny, empty.base, foreign.learnt, "de", method="cll")
    student = babelclip.Student(tiny)
    student.learn("de", examples["de"], method="cll", settings=quick)
    student.learn("ru", examples["ru"], method="cll", settings=quick)
    with pytest.raises(UnknownNameError, match="learnt language 'fr'"):
        make_pack(tiny, empty.base, student.learnt, "fr", method="cll")
    for tag in ("de", "ru"):  # from a shared lexicon, with its state of today and its own tokenizer
        pack = make_pack(tiny, empty.base, student.learnt, tag, method="cll", rows="float32")
        found = empty.install(pack).encode_texts(TEXTS[tag], language=tag)
        torch.testing.assert_close(found, student.encode_texts(TEXTS[tag], language=tag), rtol=0, atol=1e-5)


def test_a_folder_of_packs_is_as_it_was_after_a_language_has_gone(tiny, empty, packs, tmp_path):
    folder = tmp_path / "mine"
    install_pack(folder, packs["de"], tiny)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    install_pack(folder, packs["uk"], tiny)
    assert {file.name: file.read_bytes() for file in folder.iterdir()}.items() >= before.items()
    assert list(list_installed(folder)) == ["de", "uk"]
    loaded = load_polyglot(folder)
    assert torch.equal(
        loaded.encode_texts(TEXTS["uk"], language="uk"),
        empty.install(packs["uk"]).encode_texts(TEXTS["uk"], language="uk"),
    )
    assert len(verify_polyglot(loaded)) == 3
    with pytest.raises(SettingError, match="'uk' is installed in .* --replace"):
        install_pack(folder, packs["uk"], tiny)
    install_pack(folder, packs["uk"], tiny, replace=True)
    remove_pack(folder, "uk")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(UnknownNameError, match="installed language 'uk'"):
        remove_pack(folder, "uk")
    with pytest.raises(SettingError, match="'en' is the base model's own language and cannot be removed"):
        remove_pack(folder, "en")
    (folder / "de.babelpack").rename(folder / "nl.babelpack")
    with pytest.raises(FormatError, match=r"nl.babelpack: the pack is for 'de'. Rename the file to de.babelpack"):
        load_polyglot(folder)
    (tmp_path / "photo.jpg").write_text("precious")
    with pytest.raises(SettingError, match="is no folder of packs"):
        install_pack(tmp_path, packs["de"], tiny)


def test_packs_of_the_built_in_model_name_it_whatever_lies_in_the_working_folder(pictoclip, tmp_path, monkeypatch):
    (tmp_path / "pictoclip").mkdir()
    monkeypatch.chdir(tmp_path)
    begin_folder(tmp_path / "mine", pictoclip.encoder)
    assert base_of(tmp_path / "mine") == "pictoclip"
    assert load_polyglot(tmp_path / "mine", device="cpu").languages == ["en"]


def test_a_pack_for_another_base_model_is_refused(tiny, deep_folder, packs, tmp_path):
    save_pack(packs["de"], tmp_path / "de.babelpack")
    other = load_encoder(deep_folder, device="cpu")
    for refuse in (
        lambda: load_pack(tmp_path / "de.babelpack", other, base_lexicon(other)),
        lambda: Polyglot(other, base_lexicon(other), [packs["de"]]),
        lambda: load_polyglot(tmp_path / "de.babelpack", base=deep_folder),
    ):
        with pytest.raises(FormatError, match=f"{packs['de'].card.base.fingerprint[:12]}.*{other.fingerprint[:12]}"):
            refuse()
    install_pack(tmp_path / "mine", packs["de"], tiny)
    with pytest.raises(BabelclipError, match="the base model of .* cannot be loaded.*--base"):
        load_polyglot(tmp_path / "mine", base=tmp_path / "nowhere")
