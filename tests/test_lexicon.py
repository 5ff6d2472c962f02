import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from babelclip.data.examples import base_lexicon
from babelclip.errors import BabelclipError, FormatError, ModelError, SettingError, UnknownNameError
from babelclip.lexicon import (
    INITIALISERS,
    Lexicon,
    Tokens,
    Vocabulary,
    Wish,
    learn_vocabulary,
    measure_coverage,
    merge_vocabularies,
    tokenise,
)
from babelclip.lexicon.store import LEXICON, ROWS, load_lexicon, pack_lexicon, write_files

DE = ["ein rotes haus", "ein roter hund", "die katze schläft im haus", "hunde und katzen spielen"] * 5
RU = ["красный дом", "рыжая собака", "кошка спит в доме", "собаки и кошки играют"] * 5


def grow(lexicon: Lexicon, language: str, texts: list[str], **options):
    options = {"wish": Wish(500), "initialiser": "normal", "generator": torch.Generator().manual_seed(1)} | options
    return lexicon.grow(language, texts, **options)


@pytest.fixture
def lexicon(tiny) -> Lexicon:
    return base_lexicon(tiny)


def test_old_ids_rows_and_counts_never_move_and_merges_become_active(lexicon, tiny):
    before = lexicon.copy()
    length_before = len(tokenise(lexicon.tokenizer(), RU)[0])
    for language, texts in (("de", DE), ("ru", RU)):
        growth = grow(lexicon, language, texts)
        assert growth.new_tokens > 0
        assert growth.new_merges > 0
        assert growth.new_tokens + growth.overlapping_tokens <= 500
    size = len(before.vocabulary.tokens)
    assert lexicon.vocabulary.tokens[:size] == before.vocabulary.tokens
    assert lexicon.vocabulary.merges[: len(before.vocabulary.merges)] == before.vocabulary.merges
    assert torch.equal(lexicon.table[:size], before.table)
    assert torch.equal(lexicon.uses[:size], before.uses)
    assert len(lexicon.vocabulary.tokens) == len(lexicon.table) == len(lexicon.uses)
    tokenizer = lexicon.tokenizer()
    assert tokenizer.token_to_id("<|endoftext|>") == lexicon.eos == tiny.frame.eos
    assert len(tokenise(tokenizer, RU)[0]) < length_before, "the new merges must shorten the texts"


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_written_and_never_ends_early(lexicon_after_ru, text):
    ids = tokenise(lexicon_after_ru.tokenizer(), [text])[0]
    assert lexicon_after_ru.eos not in ids
    assert lexicon_after_ru.bos not in ids


@pytest.fixture(scope="module")
def lexicon_after_ru(tiny) -> Lexicon:
    lexicon = base_lexicon(tiny)
    grow(lexicon, "ru", RU)
    return lexicon


def test_text_that_looks_like_a_special_token_is_ordinary_text(lexicon):
    ids = lexicon.encode(["a<|endoftext|>b"])[0]
    assert ids.count(lexicon.eos) == 1
    assert ids[-1] == lexicon.eos


def test_words_come_back_when_decoded(lexicon_after_ru):
    ids = tokenise(lexicon_after_ru.tokenizer(), ["красный дом"])[0]
    pieces = [lexicon_after_ru.vocabulary.tokens[i] for i in ids]
    assert pieces[-1].endswith("</w>")
    assert len(pieces) == 2


def test_a_snapshot_cuts_as_on_the_day_of_learning(lexicon):
    grow(lexicon, "de", DE)
    text = ["красный дом"]
    then = list(tokenise(lexicon.tokenizer(), text))
    grow(lexicon, "ru", RU)
    assert list(tokenise(lexicon.tokenizer("de"), text)) == then
    assert list(tokenise(lexicon.tokenizer(), text)) != then, "the newest tokenizer drifts"
    with pytest.raises(UnknownNameError, match="unknown learnt language 'fr'"):
        lexicon.tokenizer("fr")


def test_a_language_is_learnt_once(lexicon):
    grow(lexicon, "de", DE)
    with pytest.raises(SettingError, match="'de' was learnt before"):
        grow(lexicon, "de", DE)


def test_merge_keeps_what_exists_in_place():
    old = Vocabulary(("a", "b", "ab"), (("a", "b"),))
    new = Vocabulary(("b", "c", "ab", "bc"), (("b", "c"), ("a", "b")))
    growth = merge_vocabularies(old, new)
    assert growth.vocabulary == Vocabulary(("a", "b", "ab", "c", "bc"), (("a", "b"), ("b", "c")))
    assert (growth.new_tokens, growth.overlapping_tokens, growth.new_merges) == (2, 2, 1)


def test_matched_rows_have_the_mean_and_deviation_of_the_whole_table():
    table = torch.randn(2000, 16) * 0.5 + 3.0
    table[:1000] *= 0.1  # not every row alike: only the two scalars over all entries count
    rows = INITIALISERS["matched"](table, 4000, torch.Generator().manual_seed(0))
    assert float(rows.mean()) == pytest.approx(float(table.mean()), rel=0.02)
    assert float(rows.std()) == pytest.approx(float(table.std()), rel=0.02)
    assert float(rows.mean(0).std()) < 0.1 * float(table.std()), "one mean for all dimensions"


def test_normal_rows_have_deviation_two_hundredths():
    rows = INITIALISERS["normal"](torch.ones(5, 16), 4000, torch.Generator().manual_seed(0))
    assert float(rows.std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(rows.mean())) < 0.001


def test_uses_give_the_papers_frequencies(lexicon):
    """Papers 2.6: a new token 1; a base token never used since 1/2; one used by two languages before 1/4."""
    grow(lexicon, "de", DE)
    new, base = len(lexicon.table) - 1, 5
    assert (1 / lexicon.uses[new], 1 / lexicon.uses[base]) == (1, 1 / 2)
    lexicon.count_use(torch.tensor([base, new]))
    lexicon.count_use(torch.tensor([base]))
    assert (1 / lexicon.uses[new], 1 / lexicon.uses[base]) == (1 / 2, 1 / 4)


def test_long_texts_are_cut_at_the_limit_and_keep_their_end(lexicon):
    ids = lexicon.encode(["haus " * 200])[0]
    assert len(ids) == lexicon.frame.max_length
    assert (ids[0], ids[-1]) == (lexicon.bos, lexicon.eos)


def test_inputs_of_a_batch_equal_those_made_one_by_one(lexicon, monkeypatch):
    texts = ["a red house", "", "haus " * 200, "x", "красный дом"]
    monkeypatch.setattr("babelclip.lexicon.tokens.CHUNK", 2)
    tokens = tokenise(lexicon.tokenizer(), texts)
    assert (len(tokens), tokens.ids.dtype) == (5, torch.int32)
    assert tokens.lengths.tolist() == [len(one) for one in tokens]
    assert tokens.used().tolist() == sorted({piece for one in tokens for piece in one})
    for chosen in ([0, 3], [4, 2, 1], [1]):
        found = tokens.inputs(torch.tensor(chosen), lexicon.frame)
        expected = lexicon.encode([texts[i] for i in chosen])
        longest = max(map(len, expected))
        assert found.tolist() == [ids + [lexicon.eos] * (longest - len(ids)) for ids in expected]
    with pytest.raises(IndexError, match="text 5 of 5"):
        tokens[5]


def test_matched_rows_follow_mean_and_deviation_of_the_whole_table_whatever_its_blocks():
    table = torch.randn(40_000, 3, generator=torch.Generator().manual_seed(0)) * 0.3 + 2
    rows = INITIALISERS["matched"](table, 5, torch.Generator().manual_seed(1))
    mu, sigma = table.double().mean().item(), table.double().std().item()
    expected = torch.empty(5, 3).normal_(mu, sigma, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=0)


def test_coverage_counts_what_it_says():
    tokens = Tokens(torch.tensor([1, 2, 3] + [4] * 80, dtype=torch.int32), torch.tensor([0, 3, 83]))
    cover = measure_coverage(["a bc", "d"], tokens, room=75, new_ids=range(3, 7))
    assert cover.texts == 2
    assert cover.tokens_per_text == 83 / 2
    assert cover.tokens_per_word == 83 / 3
    assert cover.over_limit == 0.5
    assert cover.unused == 2  # 5 and 6
    assert cover.once == 3 / 83


def test_a_saved_lexicon_comes_back_bit_for_bit(lexicon, tmp_path):
    base = lexicon.copy()
    grow(lexicon, "de", DE)
    grow(lexicon, "ru", RU)
    lexicon.table = lexicon.table + torch.nn.functional.one_hot(torch.tensor(3), len(lexicon.table))[:, None]
    lexicon.count_use(torch.tensor([3]))
    write_files(pack_lexicon(lexicon, base, base_name="tiny", fingerprint="f" * 64), tmp_path / "m")
    back = load_lexicon(tmp_path / "m", base, fingerprint="f" * 64)
    assert torch.equal(back.table, lexicon.table)
    assert torch.equal(back.uses, lexicon.uses)
    assert (back.vocabulary, back.snapshots) == (lexicon.vocabulary, lexicon.snapshots)
    assert back.encode(DE + RU) == lexicon.encode(DE + RU)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [LEXICON, ROWS], "no temporary file stays"


def test_a_damaged_or_foreign_lexicon_is_refused(lexicon, tmp_path, forbid):
    base = lexicon.copy()
    grow(lexicon, "de", DE)
    write_files(pack_lexicon(lexicon, base, base_name="tiny", fingerprint="f" * 64), tmp_path)
    with pytest.raises(FormatError, match="learnt on 'tiny' with fingerprint ffffffffffff, but .* has 000000000000"):
        load_lexicon(tmp_path, base, fingerprint="0" * 64)
    rows = (tmp_path / ROWS).read_bytes()
    with forbid(tmp_path / ROWS), pytest.raises(BabelclipError, match=r"may not be read .*\. Mend its rights"):
        load_lexicon(tmp_path, base, fingerprint="f" * 64)
    (tmp_path / ROWS).write_bytes(rows[:-5])
    with pytest.raises(FormatError, match="sha256 is"):
        load_lexicon(tmp_path, base, fingerprint="f" * 64)
    (tmp_path / LEXICON).write_text("{}")
    with pytest.raises(FormatError, match="damaged"):
        load_lexicon(tmp_path, base, fingerprint="f" * 64)
    with pytest.raises(FormatError, match=r"no lexicon\.json"):
        load_lexicon(tmp_path / "nowhere", base, fingerprint="f" * 64)


def test_tokenizer_and_table_must_agree(tiny):
    with pytest.raises(ModelError, match="has 3072 tokens but the token table has 3071 rows"):
        Lexicon.from_base(tiny.tokenizer, tiny.token_table[:-1], tiny.frame)


def test_copies_are_independent(lexicon):
    copy = lexicon.copy()
    grow(copy, "de", DE)
    copy.count_use(torch.tensor([0]))
    assert lexicon.languages == []
    assert int(lexicon.uses[0]) == 2
    assert dataclasses.replace(lexicon).table is lexicon.table


def test_other_rows_share_the_tokenizers_until_one_of_the_two_grows(lexicon):
    tokenizer, table = lexicon.tokenizer(), lexicon.table + 1
    other = lexicon.with_table(table)
    assert other.tokenizer() is tokenizer
    assert other.table is table
    texts = {"xa": ["qxqxqx zjzjzj"] * 5, "xb": ["vkvkvk wqwqwq"] * 5}
    other.snapshots = {}
    for words, (language, own) in zip((lexicon, other), texts.items(), strict=True):
        grow(words, language, own)
        assert [len(ids) for ids in tokenise(words.tokenizer(), own)] == [2] * 5
    assert lexicon.vocabulary.size == other.vocabulary.size, "as large, and not the same"


def test_the_same_texts_give_the_same_vocabulary_in_any_order(tiny):
    """Many equally frequent pairs: only a fixed order of ties gives the same merges each time."""
    texts = [f"{a}{b}{c}" for a in "abcdefgh" for b in "ijkl" for c in "mnopqrst"]
    first = learn_vocabulary(texts, tiny.tokenizer, 400)
    assert len(first.merges) > 100
    for again in (texts, texts[::-1], texts):
        assert learn_vocabulary(again, tiny.tokenizer, 400) == first
