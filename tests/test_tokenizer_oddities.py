"""Base tokenizers with something odd about them: a lexicon copes, or says what is wrong and the way out."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from babelclip.encoders.frame import Frame
from babelclip.errors import ModelError
from babelclip.lexicon import Lexicon, Vocabulary, Wish, learn_vocabulary, merge_vocabularies, tokenise
from babelclip.lexicon.kinds import build_tokenizer, kind_of, read_vocabulary
from tokenizer_bases import BASES, ENDS, byte_fallback, byte_level, names, texts_of, unigram, wordpiece

THAI = texts_of("th")


def start(tokenizer, bos, eos, rows=None):
    count = rows or tokenizer.get_vocab_size(with_added_tokens=True)
    ids = [tokenizer.token_to_id(one) if isinstance(one, str) else one for one in (bos, eos)]
    return Lexicon.from_base(tokenizer, torch.zeros(count, 2), Frame(*ids, 77))


def grow(lexicon, language, texts):
    return lexicon.grow(language, texts, Wish(300), initialiser="normal", generator=torch.Generator())


def edited(tokenizer, change):
    """The tokenizer with a changed tokenizer.json."""
    content = json.loads(tokenizer.to_str())
    change(content)
    return Tokenizer.from_str(json.dumps(content))


def test_whole_words_and_gaps_are_refused():
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, "<unk>"))
    with pytest.raises(ModelError, match="of type WordLevel, expected one of byte-level BPE, BPE over characters, Wo"):
        kind_of(words)
    gaps = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 7}, unk_token="[UNK]"))
    with pytest.raises(ModelError, match="has 4 tokens but ids up to 7"):
        read_vocabulary(gaps)
    with pytest.raises(ModelError, match="special tokens have ids up to 600"):
        start(wordpiece(), 1, 600, rows=700)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte-fallback"])
def test_an_end_that_stands_for_unknown_text_is_refused(kind):
    unknown = {"wordpiece": "[UNK]", "unigram": "<unk>", "byte-fallback": "<unk>"}[kind]
    tokenizer = BASES[kind]()
    if kind == "byte-fallback":
        start(tokenizer, "<bos>", unknown)  # there are bytes for everything, so nothing is unknown
        tokenizer = edited(tokenizer, lambda content: content["model"].update(byte_fallback=False))
    with pytest.raises(ModelError, match="writes the end-of-text token for unknown text"):
        start(tokenizer, ENDS[kind][0], unknown)


def test_a_byte_without_a_token_is_refused_where_it_would_end_a_text():
    tokenizer = byte_level()

    def without(content):
        content["model"]["vocab"]["never"] = content["model"]["vocab"].pop("!")
        content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "!" not in "".join(pair)]

    with pytest.raises(ModelError, match="cannot write every byte"):
        start(edited(tokenizer, without), "<|start|>", "<|end|>")


@pytest.mark.parametrize("kind", list(BASES))
@pytest.mark.parametrize("how", ["not special", "not an added token"])
def test_ends_that_the_tokenizer_does_not_call_special_end_no_text(kind, how):
    bos, eos = ENDS[kind]

    def change(content):
        if how == "not special":
            for token in content["added_tokens"]:
                token["special"] = False
        else:  # a token behind the vocabulary can only be an added one
            last = len(content["model"]["vocab"])
            content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] >= last]
        content["post_processor"] = None

    lexicon = start(edited(BASES[kind](), change), bos, eos)
    grow(lexicon, "th", THAI)
    for text in (eos, f"a{eos}b", f"{bos} {eos}", f"x {eos}{eos}"):
        ids = lexicon.encode([text], "th")[0]
        assert (ids.count(lexicon.bos), ids.count(lexicon.eos)) == (1, 1)
        assert len(ids) > 3


def test_a_special_token_that_cannot_be_kept_apart_is_refused():
    """One sign has nothing between its letters to put a space into."""
    sign = "\u203b"
    pieces = [(sign, 0.0), ("<unk>", 0.0), ("\u2581", -1.0), ("a", -2.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, 1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(ModelError, match="end-of-text token"):
        start(tokenizer, "a", sign)


FRAGMENTS = ["</s>", "<", "/s>", "\uff1c/s\uff1e", "<eos>", "[SEP]", "[", "SEP]", "<|end|>", "<|", " ", "\u2581",
             "\u200d", "\u0301", "<0x41>", "##", "<mask>", "a", "ß", "\n", "\U0010ffff", "犬"]  # fmt: skip


@pytest.fixture(scope="module", params=list(BASES))
def taught(request):
    lexicon = start(BASES[request.param](), *ENDS[request.param])
    grow(lexicon, "de", texts_of("de"))
    return lexicon


@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_play_with_parts_of_special_tokens_ends_a_text(taught, parts):
    ids = taught.encode(["".join(parts)], "de")[0]
    assert ids.count(taught.eos) == ids.count(taught.bos) == 1


@pytest.mark.parametrize("scheme", ["always", "first", "never", "llama"])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_marks_of_spaces_are_as_the_base_tokenizer_writes_them(scheme, kind):
    """No piece that is learnt reaches over a space, also where the base tokenizer leaves texts whole."""
    if scheme == "llama":
        made = Tokenizer(models.Unigram() if kind == "unigram" else models.BPE(unk_token="<unk>"))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        pre = None
    else:
        made = Tokenizer(models.Unigram() if kind == "unigram" else models.BPE(unk_token="<unk>"))
        pre = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    options = {"vocab_size": 400, "special_tokens": ["<s>", "</s>", "<unk>"], "show_progress": False}
    bpe, uni = trainers.BpeTrainer, trainers.UnigramTrainer
    trainer = uni(unk_token="<unk>", **options) if kind == "unigram" else bpe(**options)
    made.train_from_iterator(names("en", 500), trainer)
    if pre is None:
        made = edited(made, lambda content: content.update(pre_tokenizer=None))
    else:
        made.pre_tokenizer = pre
    lexicon = start(made, "<s>", "</s>")
    old = lexicon.vocabulary.size
    text = "eine katze und ein hund"
    before = made.encode(text, add_special_tokens=False).tokens
    assert lexicon.tokenizer().encode(text, add_special_tokens=False).tokens == before
    grow(lexicon, "de", [text, "ein hund schläft", "die katze schläft auch"] * 20)
    fresh = lexicon.vocabulary.behind(old).tokens
    assert fresh
    assert all("\u2581" not in token[1:] for token in fresh)
    after = lexicon.tokenizer("de").encode(text, add_special_tokens=False).tokens
    assert "".join(after) == "".join(before)
    assert len(after) < len(before)
    assert lexicon.vocabulary.tokens[lexicon.eos] not in lexicon.tokenizer().encode("a </s> b").tokens


def test_a_long_word_is_unknown_to_bert_but_not_to_a_grown_lexicon():
    base = wordpiece()
    lexicon = start(base, "[CLS]", "[SEP]")
    sentence = "".join(THAI)[:950]
    grow(lexicon, "th", [*THAI, sentence])
    assert base.encode("a" * 150, add_special_tokens=False).tokens == ["[UNK]"]
    assert lexicon.tokenizer("th").encode(sentence, add_special_tokens=False).tokens.count("[UNK]") == 0
    assert start(base, "[CLS]", "[SEP]").tokenizer().encode("a" * 150, add_special_tokens=False).tokens == ["[UNK]"]


def test_letters_continue_words_where_they_can_and_only_there():
    lexicon = start(wordpiece(), "[CLS]", "[SEP]")
    grow(lexicon, "de", ["ßa", "日本"])
    tokens = lexicon.vocabulary.tokens
    assert {"ß", "##ß", "日", "本"} <= set(tokens)
    assert not {"##日", "##本"} & set(tokens), "Chinese signs are words of their own in BERT"


def test_scores_are_put_on_the_scale_of_the_old_ones():
    old = Vocabulary(("<unk>", "a", "b", "c"), (), (0.0, -2.0, -3.0, -9.0))
    new = Vocabulary(("ab", "a", "b", "c", "cd"), (), (-1.0, -1.0, -1.0, -1.0, -4.0))
    growth = merge_vocabularies(old, new)
    assert growth.vocabulary.tokens == ("<unk>", "a", "b", "c", "ab", "cd")
    assert growth.vocabulary.scores == (0.0, -2.0, -3.0, -9.0, -3.0, -6.0), "shifted by the median of -1, -2 and -8"
    assert (growth.new_tokens, growth.overlapping_tokens) == (2, 3)
    apart = merge_vocabularies(old, Vocabulary(("x",), (), (-5.0,)))
    assert apart.vocabulary.scores[-1] == -5.0


def test_a_unigram_is_learnt_as_well_as_by_the_library():
    """Held-out names take no more pieces with our vocabulary than with that of the library's trainer, within 3 %."""
    texts = names("de", 2000)
    train, test = [text for i, text in enumerate(texts) if i % 5], texts[::5]
    base = unigram()
    own = learn_vocabulary(train, base, 600)
    assert sum(2.718281828**score for score in own.scores) == pytest.approx(1, abs=0.05)
    assert list(own.scores) == sorted(own.scores, reverse=True)
    theirs = unigram()
    theirs.train_from_iterator(
        train,
        trainers.UnigramTrainer(
            vocab_size=600, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    bare = read_vocabulary(base).first(Vocabulary(("<s>", "<pad>", "</s>", "<unk>")).size)
    mine = build_tokenizer(base, bare + own)
    counts = [int(tokenise(one, test).lengths.sum()) for one in (mine, theirs)]
    assert counts[0] <= 1.03 * counts[1]


def test_of_very_many_texts_the_frequent_words_are_looked_at_and_all_letters(monkeypatch):
    texts = ["der hund", "der hund schläft"] * 9 + [
        f"{word}{sign}" for word, sign in zip(names("de"), "äöüßéèàç" * 9, strict=False)
    ]
    whole = learn_vocabulary(texts, unigram(), 200)
    monkeypatch.setattr("babelclip.lexicon.em.MOST", 20)
    part = learn_vocabulary(texts, unigram(), 200)
    assert {token for token in whole.tokens if len(token) == 1} == {token for token in part.tokens if len(token) == 1}
    assert len(part.tokens) < len(whole.tokens)
    assert any("hund" in token for token in part.tokens)


@pytest.mark.parametrize("kind", list(BASES))
def test_texts_without_a_letter_bring_next_to_nothing(kind):
    lexicon = start(BASES[kind](), *ENDS[kind])
    assert grow(lexicon, "de", ["", " ", ""]).new_tokens <= 1
    assert lexicon.encode([""], "de") == [[lexicon.bos, lexicon.eos]]


def test_a_bpe_of_characters_may_mark_the_ends_of_words():
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Whitespace(), decoders.BPEDecoder()
    specials = ["<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, end_of_word_suffix="</w>", show_progress=False
    )
    made.train_from_iterator(names("en", 500), trainer)
    lexicon = start(made, "<s>", "</s>")
    grow(lexicon, "de", ["größe", "straße", "ein hund"] * 5)
    tokenizer = lexicon.tokenizer("de")
    ids = tokenizer.encode("größe straße", add_special_tokens=False).ids
    assert tokenizer.decode(ids) == "größe straße"
    assert made.token_to_id("<unk>") not in ids
    assert len(ids) <= 6


def test_merges_of_characters_join_what_old_merges_leave():
    """Learnt from letters alone, merges would wait for pieces that the old ones never leave."""
    base = byte_fallback()
    old = read_vocabulary(base)
    texts = names("de", 2000)
    train, test = [text for i, text in enumerate(texts) if i % 5], texts[::5]

    def pieces(*known):
        vocabulary = merge_vocabularies(old, learn_vocabulary(train, base, 400, *known)).vocabulary
        return int(tokenise(build_tokenizer(base, vocabulary), test).lengths.sum())

    assert pieces(old) < 0.9 * pieces()


def test_bytes_stay_the_last_resort():
    lexicon = start(byte_fallback(), "<bos>", "<eos>")
    before = lexicon.tokenizer().encode("größe", add_special_tokens=False).tokens
    assert any(token.startswith("<0x") for token in before)
    grow(lexicon, "de", ["größe", "straße"] * 5)
    tokenizer = lexicon.tokenizer("de")
    assert not any(token.startswith("<0x") for token in tokenizer.encode("ßö", add_special_tokens=False).tokens)
    unseen = tokenizer.encode("犬", add_special_tokens=False).tokens
    assert unseen == [f"<0x{byte:02X}>" for byte in "犬".encode()]
    assert tokenizer.decode(tokenizer.encode("eine größe 犬", add_special_tokens=False).ids) == "eine größe 犬"
