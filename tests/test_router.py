# ruff: noqa: RUF001, E501 - other scripts: letters that look like Latin ones, and marks that take no room
import random
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from babelclip.errors import DataError, FormatError, UnknownNameError
from babelclip.packs import ngrams, router
from babelclip.packs.ngrams import BUCKETS, HASH_BITS, ORDERS, chunks, cut, order_of
from babelclip.packs.profile import Profile
from babelclip.packs.router import UNSEEN, Reason, Router

TEXTS = {
    "en": ["A red house stands by the river.", "The dog sleeps under the table.", "Two children are playing with a ball.",
           "A woman reads the newspaper in the garden.", "Where is the station?", "The bread is fresh this morning.",
           "Black bird on a roof", "He washes the window with water."],
    "de": ["Ein rotes Haus steht am Fluss.", "Der Hund schläft unter dem Tisch.", "Zwei Kinder spielen mit einem Ball.",
           "Eine Frau liest die Zeitung im Garten.", "Wo ist der Bahnhof?", "Das Brot ist heute Morgen frisch.",
           "Schwarzer Vogel auf einem Dach", "Er wäscht das Fenster mit Wasser."],
    "ru": ["Красный дом стоит у реки.", "Собака спит под столом.", "Двое детей играют с мячом.",
           "Женщина читает газету в саду.", "Где вокзал?", "Хлеб сегодня утром свежий.", "Чёрная птица на крыше"],
    "uk": ["Червоний будинок стоїть біля річки.", "Собака спить під столом.", "Двоє дітей грають з м'ячем.",
           "Жінка читає газету в саду.", "Де вокзал?", "Хліб сьогодні вранці свіжий.", "Чорний птах на даху"],
    "hi": ["नदी के पास एक लाल घर है।", "कुत्ता मेज़ के नीचे सोता है।", "दो बच्चे गेंद से खेल रहे हैं।",
           "एक औरत बगीचे में अख़बार पढ़ती है।", "स्टेशन कहाँ है?"],
    "th": ["บ้านสีแดงอยู่ข้างแม่น้ำ", "สุนัขนอนอยู่ใต้โต๊ะ", "เด็กสองคนกำลังเล่นลูกบอล", "สถานีอยู่ที่ไหน",
           "ผู้หญิงอ่านหนังสือพิมพ์ในสวน"],
    "ar": ["بيت أحمر بجانب النهر.", "الكلب ينام تحت الطاولة.", "طفلان يلعبان بالكرة.", "أين المحطة؟",
           "امرأة تقرأ الجريدة في الحديقة."],
    "zh": ["河边有一座红色的房子。", "狗在桌子下面睡觉。", "两个孩子在玩球。", "车站在哪里。",
           "一个女人在花园里看报纸。"],
    "ja": ["川のそばに赤い家があります。", "犬はテーブルの下で寝ています。", "二人の子供がボールで遊んでいます。",
           "駅はどこですか。", "女の人が庭で新聞を読んでいます。"],
}  # fmt: skip
NEW = {
    "en": "The child sleeps in the red house", "de": "Das Kind schläft im roten Haus", "hi": "बच्चा लाल घर में सोता है",
    "ru": "Ребёнок спит в красном доме", "uk": "Дитина спить у червоному будинку", "th": "เด็กนอนในบ้านสีแดง",
    "ar": "الطفل ينام في البيت", "zh": "孩子在房子里睡觉", "ja": "子供は家で寝ています",
}  # fmt: skip
ANY = st.text(max_size=40) | st.text(alphabet="aäeшіलก犬い1!\n \u0301\ufe0f\u20e3🙂\ud800", max_size=30)


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return {tag: Profile.learn(texts) for tag, texts in TEXTS.items()}


@pytest.fixture(scope="module")
def routes(profiles) -> Router:
    return Router(profiles)


def slow_pieces(text: str) -> list[str]:
    """The pieces of a text in the order of their beginnings, by an obvious loop."""
    text = unicodedata.normalize("NFC", text).lower()
    words, inside = [""], False
    for one in text:
        category = unicodedata.category(one)
        selector = "\ufe00" <= one <= "\ufe0f" or "\U000e0100" <= one <= "\U000e01ef"
        inside = category[0] == "L" or (inside and category in {"Mn", "Mc"} and not selector)
        words = [*words[:-1], words[-1] + one] if inside else [*words, ""]
    found = []
    for word in filter(None, words):
        padded = f"_{word}_"
        for begin in range(len(padded)):
            ends = range(begin + 1, min(begin + ORDERS, len(padded)) + 1)
            found += [padded[begin:end] for end in ends if padded[begin:end] != "_"]
    return found


# --- pieces ---------------------------------------------------------------------------------------------------------


@given(st.lists(ANY, max_size=6))
@settings(max_examples=80, deadline=None)
def test_pieces_are_those_of_an_obvious_loop(texts):
    grams = cut(texts)
    numbers = {}
    assert len(grams.offsets) == len(texts) + 1
    assert grams.offsets[-1] == len(grams.ids)
    for text, start, end in zip(texts, grams.offsets[:-1], grams.offsets[1:], strict=True):
        pieces, ids = slow_pieces(text), grams.ids[start:end]
        assert order_of(ids).tolist() == [len(piece) for piece in pieces]
        for piece, number in zip(pieces, ids.tolist(), strict=True):
            assert numbers.setdefault(piece, number) == number, "the same piece, the same number"
            assert 0 <= number < BUCKETS


def test_different_pieces_have_different_numbers_nearly_always():
    every = [chr(point) for point in range(0x110000) if unicodedata.category(chr(point))[0] == "L"]
    every = [text for text in every if text.lower() == text == unicodedata.normalize("NFC", text)]
    single = cut(every).ids
    assert len(single[order_of(single) == 1].unique()) == len(every), "no two letters share a number"
    letters = [chr(point) for point in range(0x4E00, 0x4E00 + 2000)]
    assert len(cut(letters).ids.unique()) > 0.97 * 4 * len(letters)
    assert len(cut(["ab", "ba", "abc", "acb", "cab"]).ids.unique()) == len(
        {piece for text in ("ab", "ba", "abc", "acb", "cab") for piece in slow_pieces(text)}
    )


@pytest.mark.parametrize("text", ["", " ", "2024", "3.14 €", "🙂🙂", "❤️", "1️⃣", "👩‍🚀🏽", "!?—", "\n\n", "\u0301"])
def test_no_letter_no_piece(text, routes):
    assert not len(cut([text]).ids)
    one = routes.route([text])[0]
    assert (one.tag, one.reason) == ("en", Reason.NO_LETTERS)
    assert one.probability == one.second_probability == pytest.approx(1 / len(TEXTS))


def test_vowel_signs_and_accents_belong_to_words():
    assert slow_pieces("हिन्दी")[-1] == "ी_"
    assert torch.equal(cut(["हिन्दी, ที่"]).ids, cut(["हिन्दी ที่"]).ids)
    assert len(cut(["किताब"]).ids) == len(slow_pieces("किताब")) == len(cut(["abcde"]).ids)
    assert torch.equal(cut(["é"]).ids, cut(["e\u0301"]).ids), "composed and decomposed are one"
    assert torch.equal(cut(["ÄPFEL"]).ids, cut(["äpfel"]).ids)


def test_parts_are_small_and_whole(monkeypatch):
    monkeypatch.setattr(ngrams, "_CHARACTERS", 10)
    monkeypatch.setattr(ngrams, "CHUNK", 3)
    texts = ["aaaa", "bbbb", "c" * 50, "", "", "", "", "d"]
    parts = list(chunks(texts))
    assert [text for part in parts for text in part] == texts
    assert all(len(part) <= 3 and (len(part) == 1 or sum(map(len, part)) <= 10) for part in parts)


# --- profiles -------------------------------------------------------------------------------------------------------


def test_a_profile_counts_pieces_and_keeps_the_most_frequent():
    texts = ["la la lo", "la"]
    pieces = [piece for text in texts for piece in slow_pieces(text)]
    whole = Profile.learn(texts)
    assert int(whole.counts.sum()) == len(pieces)
    assert len(whole.ids) == len(set(pieces))
    by_length = [[piece for piece in pieces if len(piece) == order + 1] for order in range(ORDERS)]
    assert whole.totals.tolist() == [[len(some) for some in by_length], [len(set(some)) for some in by_length]]
    small = Profile.learn(texts, keep=3)
    assert torch.equal(small.totals, whole.totals)
    assert sorted(small.counts.tolist()) == sorted(whole.counts.tolist())[-3:]
    assert bool((small.ids.diff() > 0).all())


def test_learning_does_not_depend_on_order_or_parts_and_refuses_texts_without_letters(monkeypatch):
    texts = TEXTS["de"] * 3
    shuffled = random.Random(0).sample(texts, len(texts))
    one = Profile.learn(texts, keep=50)
    monkeypatch.setattr(ngrams, "CHUNK", 5)
    other = Profile.learn(shuffled, keep=50)
    assert all(torch.equal(one.tensors()[name], other.tensors()[name]) for name in one.tensors())
    with pytest.raises(DataError, match="no letter in 2 training texts"):
        Profile.learn(["123", "🙂"])
    with pytest.raises(DataError, match="0 training texts"):
        Profile.learn([])


def test_merging_adds_counts_in_any_order_and_copies_change_no_likelihood(profiles):
    one, other = profiles["en"], profiles["de"]
    merged, again = Profile.merged([one, other]), Profile.merged([other, one])
    assert all(torch.equal(a, b) for a, b in zip(merged.tensors().values(), again.tensors().values(), strict=True))
    assert int(merged.counts.sum()) == int(one.counts.sum() + other.counts.sum())
    whole = Profile.learn(TEXTS["en"] + TEXTS["de"])
    assert torch.equal(merged.ids, whole.ids)
    assert torch.equal(merged.counts, whole.counts)
    texts = [*NEW.values(), "zebra"]
    once, thrice = (Router({"en": p}).log_likelihoods(texts) for p in (one, Profile.merged([one] * 3)))
    torch.testing.assert_close(once, thrice, rtol=1e-6, atol=0)


def test_a_profile_comes_back_from_its_tensors(profiles, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(profiles["hi"].tensors(), tmp_path / "hi")
    back = Profile.from_tensors(load_file(tmp_path / "hi"))
    for name in ("ids", "counts", "totals"):
        ours, theirs = getattr(profiles["hi"], name), getattr(back, name)
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def changed(name, change):
    return lambda tensors: tensors | {name: change(tensors[name])}


def with_value(place, value):
    def change(tensor):
        tensor = tensor.clone()
        tensor[place] = value
        return tensor

    return change


DAMAGE = {
    "a tensor missing": lambda tensors: {name: tensors[name] for name in ("ids", "counts")},
    "a tensor too many": lambda tensors: tensors | {"more": torch.zeros(1)},
    "floats": changed("counts", torch.Tensor.float),
    "wide ids": changed("ids", torch.Tensor.long),
    "narrow totals": changed("totals", torch.Tensor.int),
    "a count missing": changed("counts", lambda counts: counts[1:]),
    "two axes": changed("ids", lambda ids: ids[None]),
    "no axis": changed("ids", lambda ids: ids[0]),
    "nothing": lambda tensors: tensors | {name: tensors[name][:0] for name in ("ids", "counts")},
    "totals of a longer piece": changed("totals", lambda totals: torch.cat([totals, totals[:, :1]], dim=1)),
    "ids twice": changed("ids", lambda ids: with_value(1, int(ids[0]))(ids)),
    "ids that fall": changed("ids", lambda ids: ids.flip(0)),
    "a negative id": changed("ids", with_value(0, -1)),
    "an id too large": changed("ids", with_value(-1, BUCKETS)),
    "a count of 0": changed("counts", with_value(0, 0)),
    "a negative count": changed("counts", with_value(0, -5)),
    "a count above the total": changed("counts", with_value(0, 2**31 - 1)),
    "a negative total": changed("totals", with_value((0, 0), -1)),
    "a huge total": changed("totals", with_value((0, 0), 2**62)),
    "more kinds than pieces": changed("totals", lambda totals: totals.flip(0) * 2),
    "too few kinds": changed("totals", with_value((1, 3), 1)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_tensors_are_refused_with_file_and_way_out(damage, profiles, tmp_path):
    with pytest.raises(FormatError, match=r"pack\.safetensors: not a profile of a language: .*Get the pack again"):
        Profile.from_tensors(damage(profiles["de"].tensors()), file=tmp_path / "pack.safetensors")


# --- routes ---------------------------------------------------------------------------------------------------------


def test_new_sentences_find_their_language_and_so_do_words_with_a_script_of_their_own(routes):
    assert dict(zip(NEW, routes.route(list(NEW.values())).tags, strict=True)) == {tag: tag for tag in NEW}
    words = {
        "कुत्ता": "hi",
        "สุนัข": "th",
        "بيت": "ar",
        "ボール": "ja",
        "房子": "zh",
        "schläft": "de",
        "Garten": "de",
        "garden": "en",
    }
    assert dict(zip(words, routes.route(list(words)).tags, strict=True)) == words


@pytest.mark.parametrize("keep", [60, 16_000])
def test_a_likelihood_is_the_formula(profiles, keep):
    text, profile = "Haus, Xylophon", Profile.learn(TEXTS["de"], keep=keep)
    routes = Router({"en": profiles["en"], "de": profile})
    counts = dict(zip(profile.ids.tolist(), profile.counts.tolist(), strict=True))
    expected = 0.0
    for number in cut([text]).ids.tolist():
        order = number >> HASH_BITS
        pieces, kinds = profile.totals[:, order].double()
        kept = sum(count for key, count in counts.items() if key >> HASH_BITS == order)
        unseen = (pieces + kinds - kept) / (pieces + kinds) / UNSEEN
        seen = counts.get(number, 0) / (pieces + kinds)
        expected += float(torch.log(torch.maximum(seen, unseen)))
    found = routes.log_likelihoods([text])[0, routes.languages.index("de")]
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_probability_is_the_formula(routes):
    texts = list(NEW.values())
    scores, pieces = routes.log_likelihoods(texts).double(), cut(texts).offsets.diff().double()
    expected = (scores * router.SHARPNESS / pieces[:, None] ** router.DECAY).softmax(dim=1)
    top = expected.topk(2, dim=1)
    found = routes.route(texts)
    torch.testing.assert_close(found.probability.double(), top.values[:, 0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.second_probability.double(), top.values[:, 1], rtol=1e-3, atol=1e-6)
    assert torch.equal(found.second, top.indices[:, 1])


@given(st.lists(ANY, min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_text_has_valid_probabilities_and_is_routed_alone_as_among_others_bit_for_bit(routes, texts):
    mixed = [*texts, *NEW.values(), *texts]
    found, scores = routes.route(mixed), routes.log_likelihoods(mixed)
    assert bool((found.probability >= found.second_probability).all())
    assert bool((found.probability >= 1 / len(TEXTS) - 1e-6).all())
    assert bool((found.second_probability >= 0).all())
    assert bool((found.probability.double() + found.second_probability.double() <= 1 + 1e-6).all())
    assert bool((found.best != found.second).all())
    for place, text in enumerate(texts):
        alone = routes.route([text])
        assert alone[0] == found[place] == found[place + len(texts) + len(NEW)]
        assert torch.equal(routes.log_likelihoods([text])[0], scores[place])


@pytest.mark.parametrize("threads", [1, 2])
def test_large_batches_change_nothing_bit_for_bit(routes, profiles, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        texts = [text for some in TEXTS.values() for text in some] * 300
        scores = routes.log_likelihoods(texts)
        assert torch.equal(scores, routes.log_likelihoods(texts[: len(texts) // 300]).repeat(300, 1))
    finally:
        torch.set_num_threads(before)


def test_other_languages_never_change_a_likelihood(profiles, routes):
    texts = [*NEW.values(), "ქართული", "Chopin 1849", ""]
    everything = routes.log_likelihoods(texts)
    for tag in TEXTS:
        few = Router({"en": profiles["en"], tag: profiles[tag]})
        column = few.log_likelihoods(texts)[:, few.languages.index(tag)]
        assert torch.equal(column, everything[:, routes.languages.index(tag)])


def test_the_order_of_installation_is_irrelevant(profiles, routes):
    texts = [*NEW.values(), "", "radio"]
    backwards = Router(dict(reversed(profiles.items())))
    assert backwards.languages == routes.languages == ("en", *sorted(set(TEXTS) - {"en"}))
    assert list(backwards.route(texts)) == list(routes.route(texts))


def test_equally_likely_languages_go_to_the_base_language_then_by_tag(profiles):
    same = profiles["de"]
    one = Router({"zz": same, "aa": same, "en": same}).route(["Haus"])[0]
    assert (one.tag, one.second) == ("en", "aa")
    assert one.probability == pytest.approx(1 / 3)


def test_a_base_language_alone_takes_everything(profiles):
    alone = Router({"en": profiles["en"]})
    for text in ("house", "собака", ""):
        one = alone.route([text])[0]
        assert (one.tag, one.probability, one.second, one.second_probability) == ("en", 1.0, None, 0.0)


def test_a_router_needs_its_base_language(profiles):
    with pytest.raises(UnknownNameError, match="base language of the router 'en'"):
        Router({"de": profiles["de"]})
    assert Router({"de": profiles["de"]}, native="de").languages == ("de",)


def test_letters_that_nobody_knows_go_to_the_base_language(routes):
    one = routes.route(["ქართული ენა"])[0]
    assert (one.tag, one.reason, one.probability) == ("en", Reason.UNKNOWN_LETTERS, pytest.approx(1 / len(TEXTS)))
    rng = random.Random(0)
    words = ["".join(chr(rng.randrange(0x10D0, 0x10F1)) for _ in range(8)) for _ in range(2000)]
    assert set(routes.route(words).reasons.tolist()) == {Reason.UNKNOWN_LETTERS}, "whatever numbers long pieces share"


def test_mixed_scripts_and_code_switching_go_where_most_pieces_point(routes):
    found = routes.route(
        ["Der Hund schläft unter dem Tisch in the garden", "iPhone собака спит под столом", "狗在桌子 dog"]
    )
    assert found.tags[:2] == ["de", "ru"]
    assert found[0].second == "en"
    assert found[2].tag == "zh"


def test_short_texts_are_less_certain(routes):
    word, sentence = routes.route(["Ball", "Eine Frau liest die Zeitung im Garten"])
    assert word.probability < sentence.probability
    assert sentence.tag == "de"


def test_digits_and_emoji_do_not_change_where_a_text_goes(routes):
    plain, busy = routes.log_likelihoods(["schwarzer Vogel", "12 schwarzer 🐦‍⬛ Vogel!!"])
    assert torch.equal(plain, busy)


def test_no_texts_give_no_routes(routes):
    found = routes.route([])
    assert (len(found), found.tags) == (0, [])
    assert routes.log_likelihoods([]).shape == (0, len(TEXTS))


def test_texts_of_a_language_are_found_by_place(routes):
    found = routes.route([NEW["de"], NEW["ru"], NEW["de"], "7"])
    assert found.texts_of("de").tolist() == [0, 2]
    assert found.texts_of("en").tolist() == [3]
    assert found.texts_of("fi").tolist() == []
    assert found[3].reason == Reason.NO_LETTERS


def test_a_small_pack_is_not_punished_against_a_large_one(profiles):
    rng = random.Random(1)
    words = " ".join(TEXTS["ru"]).split()
    large = Profile.learn([" ".join(rng.choices(words, k=6)) for _ in range(2000)])
    both = Router({"en": profiles["en"], "ru": large, "uk": profiles["uk"]})
    assert both.route([NEW["uk"], NEW["ru"], "Хліб свіжий"]).tags == ["uk", "ru", "uk"]
