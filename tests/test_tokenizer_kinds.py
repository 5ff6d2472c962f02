"""Growth of every kind of tokenizer: old ids stay, languages keep their cuts, no letter that was seen is unknown."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from babelclip.encoders.frame import Frame
from babelclip.errors import ModelError
from babelclip.lexicon import Lexicon, Vocabulary, Wish, learn_vocabulary, merge_vocabularies, tokenise
from babelclip.lexicon.kinds import KINDS, build_tokenizer, kind_of, read_vocabulary
from babelclip.lexicon.store import load_lexicon, pack_lexicon, write_files
from tokenizer_bases import BASES, ENDS, LANGUAGES36, UNKNOWN, names, texts_of

SIZE = 250


@pytest.fixture(scope="module", params=list(BASES))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def base_tokenizer(kind, tmp_path_factory):
    file = tmp_path_factory.mktemp(kind) / "tokenizer.json"
    BASES[kind]().save(str(file))
    return Tokenizer.from_file(str(file))


def lexicon_of(tokenizer, kind, *, rows=0):
    """A lexicon with random rows, some of which no token may reach."""
    count = tokenizer.get_vocab_size(with_added_tokens=True)
    bos, eos = (tokenizer.token_to_id(token) for token in ENDS[kind])
    table = torch.randn(count + rows, 4, generator=torch.Generator().manual_seed(0))
    return Lexicon.from_base(tokenizer, table, Frame(bos, eos, 77))


def grow(lexicon, language, texts, size=SIZE):
    return lexicon.grow(language, texts, Wish(size), initialiser="normal", generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def grown(base_tokenizer, kind):
    """All 36 languages one after another, with the cut of each on the day that it was learnt, and the sizes."""
    lexicon, cuts, vocabularies = lexicon_of(base_tokenizer, kind), {}, []
    for language in LANGUAGES36:
        grow(lexicon, language, texts_of(language))
        cuts[language] = list(tokenise(lexicon.tokenizer(), texts_of(language)))
        vocabularies.append((lexicon.vocabulary, lexicon.table))
    return lexicon, cuts, vocabularies


def test_the_kinds_are_told_apart(base_tokenizer, kind):
    expected = {"byte-level": "byte-level BPE", "wordpiece": "WordPiece", "unigram": "Unigram",
                "byte-fallback": "BPE over characters"}  # fmt: skip
    assert kind_of(base_tokenizer).name == expected[kind]
    assert len({one.name for one in KINDS}) == len(BASES)


def test_old_ids_rows_and_scores_never_move(base_tokenizer, grown):
    _, _, stages = grown
    before, table = read_vocabulary(base_tokenizer), None
    for after, rows in stages:
        assert after.first(before.size) == before
        assert table is None or torch.equal(rows[: len(table)], table)
        assert len(rows) == len(after.tokens) == len(set(after.tokens))
        before, table = after, rows
    for token, number in base_tokenizer.get_vocab(with_added_tokens=True).items():
        assert before.tokens[number] == token


def test_each_language_is_cut_as_on_the_day_it_was_learnt(grown):
    lexicon, cuts, drifted = grown[0].copy(), grown[1], 0  # a copy has no tokenizer from that day any more
    for language, cut in cuts.items():
        assert list(tokenise(lexicon.tokenizer(language), texts_of(language))) == cut
        drifted += list(tokenise(lexicon.tokenizer(), texts_of(language))) != cut
    assert drifted, "the newest tokenizer cuts some languages otherwise, or this test tests nothing"


def test_english_is_cut_by_the_base_snapshot_as_by_the_original(base_tokenizer, kind):
    lexicon = lexicon_of(base_tokenizer, kind)
    for text in [*names("en", 2000), "a~b  c", "犬 dog", "a<turn>b", ""]:
        assert lexicon.tokenizer().encode(text, add_special_tokens=False).ids == (
            base_tokenizer.encode(text, add_special_tokens=False).ids
        )


def test_no_letter_that_was_seen_is_unknown_or_falls_into_bytes(base_tokenizer, grown, kind):
    lexicon, cuts, _ = grown
    if kind == "byte-level":
        assert all(lexicon.eos not in ids for cut in cuts.values() for ids in cut)
        return
    unknown = lexicon.vocabulary.tokens.index(UNKNOWN[kind])
    for language in cuts:
        tokenizer = lexicon.tokenizer(language)
        letters = {letter for text in texts_of(language) for letter in text if not letter.isspace()}
        shuffled = sorted(letters)
        random.Random(0).shuffle(shuffled)
        for text in [*texts_of(language), "".join(shuffled)]:  # letters in words that were never seen too
            tokens = tokenizer.encode(text, add_special_tokens=False)
            assert unknown not in tokens.ids
            assert not any(token.startswith("<0x") for token in tokens.tokens)


def test_decoding_gives_the_normalised_text_back(grown, kind):
    lexicon, cuts, _ = grown
    for language in cuts:
        tokenizer = lexicon.tokenizer(language)
        for text in texts_of(language):
            plain = tokenizer.normalizer.normalize_str(text).replace("\u2581", " ")
            found = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids)
            if kind == "wordpiece":  # BERT's decoder guesses where spaces were
                plain, found = ("".join(one.split()) for one in (plain, found))
            assert found == plain.strip()


def test_the_order_of_texts_changes_nothing(base_tokenizer, grown, kind):
    for language in ("de", "th", "zh", "vi"):
        texts = [*texts_of(language), *(f"{a}{b}{c}" for a in "abcd" for b in "ijkl" for c in "mnop")]
        for old in (None, read_vocabulary(base_tokenizer)):
            first = learn_vocabulary(texts, base_tokenizer, SIZE, old)
            assert len(first.tokens) > 100
            for seed in range(3):
                random.Random(seed).shuffle(texts)
                assert learn_vocabulary(texts, base_tokenizer, SIZE, old) == first


def test_a_piece_of_several_letters_occurs_often_enough(base_tokenizer, kind):
    texts = [*texts_of("de"), *["selten gesehen"] * 4, *["oft gesehen"] * 5]
    old = read_vocabulary(base_tokenizer)
    all_of, often = (learn_vocabulary(texts, base_tokenizer, Wish(4 * SIZE, count), old) for count in (0, 5))
    assert 0 < len(often.tokens) < len(all_of.tokens)
    plain = " ".join(base_tokenizer.normalizer.normalize_str(text) for text in texts).replace(" ", "\u2581")
    for token in often.tokens:
        piece = token.replace("</w>", "").removeprefix("##").replace("\u0120", "\u2581")
        if piece.isascii() and piece.removeprefix("\u2581").isalpha() and len(piece) > 1:
            assert plain.count(piece.removeprefix("\u2581")) >= 5 or token in old.tokens, token
    letters = {token for token in all_of.tokens if len(token.replace("</w>", "").removeprefix("##")) == 1}
    assert letters <= {*often.tokens, *old.tokens}, "no letter is lost"


def _waiting(base_tokenizer, texts, wish):
    """How many merges find no place in the training texts when they are first allowed."""
    old = read_vocabulary(base_tokenizer)
    growth = merge_vocabularies(old, learn_vocabulary(texts, base_tokenizer, wish, old))
    waiting, start = 0, len(old.merges)
    for place in range(start, len(growth.vocabulary.merges), 9):
        then = Vocabulary(growth.vocabulary.tokens, growth.vocabulary.merges[:place])
        tokenizer = build_tokenizer(base_tokenizer, then)
        cut = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        neighbours = {pair for one in cut for pair in pairwise(one.tokens)}
        waiting += growth.vocabulary.merges[place] not in neighbours
    return waiting


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("language", ["de", "ru", "vi"])
def test_merges_learnt_from_remains_can_all_fire(language, marked, tiny):
    """Old merges of English leave pieces of German that merges from letters do not expect; CLIP marks ends of words."""
    base, texts = tiny.tokenizer if marked else BASES["byte-level"](), texts_of(language)
    assert _waiting(base, texts, Wish(SIZE, remains=True)) == 0
    if language == "de":
        assert _waiting(base, texts, Wish(SIZE)) > 0
    old = read_vocabulary(base)
    lengths = []
    for remains in (False, True):
        own = learn_vocabulary(texts, base, Wish(SIZE, remains=remains), old)
        tokenizer = build_tokenizer(base, merge_vocabularies(old, own).vocabulary)
        lengths.append(sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts))
    assert lengths[1] <= lengths[0]


def _odd_base(*, suffix="", prefix="", alphabet=True, splits=True):
    made = Tokenizer(models.BPE(end_of_word_suffix=suffix, continuing_subword_prefix=prefix))
    if splits:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        made.normalizer = normalizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|end|>"], show_progress=False, end_of_word_suffix=suffix,
        continuing_subword_prefix=prefix,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if alphabet else [],
    )  # fmt: skip
    made.train_from_iterator(names("en", 400), trainer)
    return made


@pytest.mark.parametrize("odd", [{"suffix": "</w>"}, {"alphabet": False}, {"splits": False}, {"prefix": "##"}], ids=str)
def test_no_byte_is_lost_between_remains(odd):
    """Bases without tokens for some bytes or ends of words, without words, or with marks inside of words."""
    base, texts = _odd_base(**odd), names("ru", 60)
    old = read_vocabulary(base)
    own = learn_vocabulary(texts, base, Wish(500, remains=True), old)
    tokenizer = build_tokenizer(base, merge_vocabularies(old, own).vocabulary)
    cuts = [tokenizer.encode(text, add_special_tokens=False).tokens for text in texts]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text, cut in zip(texts, cuts, strict=True):
        plain = letters.pre_tokenize_str(text)[0][0]
        assert "".join(token.removesuffix("</w>").removeprefix("##") for token in cut) == plain
    assert sum(map(len, cuts)) < 8 * len(texts), "a fraction of the bytes"


def test_a_grown_lexicon_comes_back_from_disk(base_tokenizer, grown, kind, tmp_path):
    lexicon, cuts, _ = grown
    base = lexicon_of(base_tokenizer, kind)
    write_files(pack_lexicon(lexicon, base, base_name="tiny", fingerprint="f" * 64), tmp_path)
    back = load_lexicon(tmp_path, base, fingerprint="f" * 64)
    assert (back.vocabulary, back.snapshots) == (lexicon.vocabulary, lexicon.snapshots)
    assert torch.equal(back.table, lexicon.table)
    assert ('"scores"' in (tmp_path / "lexicon.json").read_text()) == (kind == "unigram")
    for language, cut in cuts.items():
        assert list(tokenise(back.tokenizer(language), texts_of(language))) == cut


def test_special_tokens_in_a_text_are_words_like_others(grown, kind):
    lexicon, _, _ = grown
    specials = [token.content for token in lexicon.base_tokenizer.get_added_tokens_decoder().values() if token.special]
    assert len(specials) >= 2
    for special in specials:
        number = lexicon.vocabulary.tokens.index(special)
        for text in (special, f"a{special}b", f"a {special} b", special * 2, f"<{special}"):
            for language in (None, "de"):
                ids = lexicon.encode([text], language)[0]
                inside = ids[1:-1]
                assert inside
                assert {lexicon.bos, lexicon.eos}.isdisjoint(inside)
                assert number not in inside or special == UNKNOWN.get(kind)


@given(text=st.text(max_size=80), language=st.sampled_from([None, *LANGUAGES36]))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_cut_and_never_ends_early(grown, text, language):
    lexicon, _, _ = grown
    ids = lexicon.encode([text], language)[0]
    assert ids.count(lexicon.eos) == ids.count(lexicon.bos) == 1
    assert (ids[0], ids[-1]) == (lexicon.bos, lexicon.eos)


def test_rows_that_no_token_reaches_are_left_out_and_missing_ones_refused(base_tokenizer, kind):
    lexicon = lexicon_of(base_tokenizer, kind, rows=7)
    assert len(lexicon.table) == len(lexicon.vocabulary.tokens) == len(lexicon.uses)
    grow(lexicon, "de", texts_of("de"))
    assert len(lexicon.table) == len(lexicon.vocabulary.tokens)
    with pytest.raises(ModelError, match="tokens but the token table has"):
        lexicon_of(base_tokenizer, kind, rows=-1)


def test_pieces_of_new_tokens_are_of_the_base_vocabulary(base_tokenizer, kind, grown):
    lexicon, _, _ = grown
    base = read_vocabulary(base_tokenizer)
    fresh = lexicon.vocabulary.behind(base.size).tokens
    cut = kind_of(base_tokenizer).cut(base_tokenizer, base, fresh)
    assert len(cut) == len(fresh)
    assert all(0 <= piece < len(base.tokens) for pieces in cut for piece in pieces)
    mark = "##" if kind == "wordpiece" else ""
    whole = [
        (token, [base.tokens[piece] for piece in pieces])
        for token, pieces in zip(fresh, cut, strict=True)
        if token.removeprefix(mark).isascii() and UNKNOWN.get(kind) not in [base.tokens[piece] for piece in pieces]
    ]
    assert len(whole) > 20
    for token, pieces in whole:
        if not any(piece.startswith("<0x") for piece in pieces):
            assert token == pieces[0] + "".join(piece.removeprefix(mark) for piece in pieces[1:])
