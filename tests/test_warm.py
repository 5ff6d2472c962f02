"""Where the rows of a new pack start."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import babelclip
from babelclip.cli.main import app
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Tokens, tokenise
from babelclip.packs import Polyglot, learn_pack, load_pack, save_pack
from babelclip.packs.align import align
from babelclip.packs.store import pack_files
from babelclip.packs.warm import STARTS, cut_tokens, donated_rows, grow_words, relatedness, start_words


@pytest.fixture(scope="module")
def settings():
    return babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3, idle_decay=False)


@pytest.fixture(scope="module")
def plain(tiny):
    return Polyglot(tiny, base_lexicon(tiny))


@pytest.fixture(scope="module")
def german(plain, examples, settings):
    return learn_pack(plain, "de", examples["de"], settings=settings, rows="float32")[0]


@pytest.fixture(scope="module")
def words(plain, examples, settings):
    return grow_words(plain, examples["de"], settings)


def flat(texts):
    return Tokens(
        torch.tensor([one for text in texts for one in text], dtype=torch.int32),
        torch.tensor([0, *(len(text) for text in texts)]).cumsum(0),
    )


def slow_align(foreign, english, rounds):
    """IBM Model 1 with dictionaries."""
    chance, counts = {}, {}
    for _ in range(rounds):
        counts = {}
        for one, other in zip(foreign, english, strict=True):
            for f in one:
                weights = [chance.get((f, e), 1.0) for e in [*other, None]]
                for e, weight in zip([*other, None], weights, strict=True):
                    counts[f, e] = counts.get((f, e), 0.0) + weight / sum(weights)
        total = {}
        for (_, e), count in counts.items():
            total[e] = total.get(e, 0.0) + count
        chance = {(f, e): count / total[e] for (f, e), count in counts.items()}
    return {pair: count for pair, count in counts.items() if pair[1] is not None}


def test_alignment_is_ibm_model_1():
    foreign, english = [[7, 8, 9], [7, 5, 5], [], [9, 7]], [[1, 2, 3], [1, 4], [2], [3, 1, 1]]
    expected = slow_align(foreign, english, 5)
    f, e, counts = align(flat(foreign), flat(english))
    found = dict(zip(zip(f.tolist(), e.tolist(), strict=True), counts.tolist(), strict=True))
    assert found == pytest.approx(expected)
    assert found[7, 1] > 0.5 > found[7, 2], "what always comes together belongs together"


def test_texts_without_english_tokens_and_without_any_are_aligned_with_nothing():
    for foreign, english in (([[7], [8]], [[], []]), ([[], []], [[1], []]), ([], [])):
        assert [len(one) for one in align(flat(foreign), flat(english))] == [0, 0, 0]


def test_the_random_start_is_what_it_was_bit_for_bit(plain, examples, settings, german, words):
    assert torch.equal(start_words(words, "random").table, words.grown.table)
    student = babelclip.Student(plain.encoder)
    student.learn("de", examples["de"], method="cll", settings=settings)
    assert torch.equal(german.learnt(plain.base).lexicon.table, student.lexicon.table)
    grown = start_words(words, "random")
    later = babelclip.Student(plain.encoder, babelclip.acquirers.Learnt.start(grown, plain.encoder))
    later.learn("de", examples["de"], method="cll", settings=settings)
    assert torch.equal(later.lexicon.table, student.lexicon.table), "growing beforehand changes nothing"


def test_pieces_of_tokens_are_those_of_the_base_tokenizer(words):
    base, suffix = words.base, "</w>"
    whole = [token for token in words.new_tokens if token.endswith(suffix)]
    plain = [token.removesuffix(suffix) for token in whole if token.removesuffix(suffix).isascii()]
    assert "quadrat" in plain
    assert cut_tokens(base, tuple(f"{token}{suffix}" for token in plain)) == list(tokenise(base.tokenizer(), plain))
    for token, pieces in zip(words.new_tokens, cut_tokens(base, words.new_tokens), strict=True):
        assert "".join(base.vocabulary.tokens[piece] for piece in pieces) == token
        assert len(pieces) > 1


def test_the_base_start_is_the_mean_of_the_pieces_and_leaves_base_rows(words):
    table, old = start_words(words, "base").table, len(words.base.table)
    assert torch.equal(table[:old], words.base.table)
    for number, pieces in enumerate(cut_tokens(words.base, words.new_tokens)):
        torch.testing.assert_close(table[old + number], words.base.table[pieces].mean(dim=0))


def test_the_pairs_start_is_the_mean_of_the_english_counterparts(words):
    table, base = start_words(words, "pairs").table, start_words(words, "base").table
    f, e, counts = align(words.tokens, words.english)
    used = words.tokens.used()
    for token in used.tolist():
        here = f == token
        row = (counts[here, None] * words.base.table[e[here]].double()).sum(dim=0) / counts[here].sum()
        torch.testing.assert_close(table[token], row.float())
    others = torch.ones(len(table), dtype=torch.bool)
    others[used] = False
    assert torch.equal(table[others], base[others])
    red, rot = tokenise(words.base.tokenizer(), ["red"])[0], tokenise(words.grown.tokenizer(), ["rot"])[0]
    best = e[f == rot[0]][counts[f == rot[0]].argmax()]
    assert (len(rot), best.item()) == (1, red[0])


def test_relatedness_is_the_share_of_known_running_tokens(words, german, plain, examples, settings):
    assert relatedness(words, german) == 1
    russian = grow_words(plain, examples["ru"], settings)
    known = set(german.vocabulary.tokens) | {
        plain.base.vocabulary.tokens[i] for i in german.ids if i < len(plain.base.table)
    }
    running = [russian.grown.vocabulary.tokens[i] for i in russian.tokens.ids]
    assert relatedness(russian, german) == pytest.approx(sum(one in known for one in running) / len(running))
    assert relatedness(russian, german) < 0.5


def test_rows_of_packs_are_taken_where_there_are_some_and_weighted(plain, german, words):
    other = replace(german, card=german.card.model_copy(update={"language": "nl"}), rows=german.rows + 1)
    some = replace(words, packs={"sv": german, "nl": other})
    rows, given = donated_rows(some)
    ends = (german.ids == plain.base.bos) | (german.ids == plain.base.eos)
    assert ends.sum() == 2
    german = replace(german, ids=german.ids[~ends], rows=german.rows[~ends])
    torch.testing.assert_close(rows[german.ids], german.rows + 0.5)
    assert given.nonzero().squeeze(1).tolist() == german.ids.tolist()
    table, paired = start_words(some, "packs").table, start_words(some, "pairs").table
    seen = torch.bincount(words.tokens.ids.long(), minlength=len(table))[german.ids, None]
    assert seen.max() > 1
    assert seen.min() == 0
    torch.testing.assert_close(table[german.ids], (seen * paired[german.ids] + german.rows + 0.5) / (seen + 1))
    assert torch.equal(table[~given], paired[~given])
    none = replace(
        other, vocabulary=replace(other.vocabulary, tokens=tuple(f"{one}?" for one in other.vocabulary.tokens))
    )
    weight = relatedness(words, none)
    assert 0 < weight < 1
    rows, _ = donated_rows(replace(words, packs={"sv": german, "nl": none}))
    old = german.ids < len(plain.base.table)
    torch.testing.assert_close(rows[german.ids[old]], german.rows[old] + weight / (1 + weight))
    assert torch.equal(rows[german.ids[~old]], german.rows[~old])


@pytest.mark.parametrize("start", list(STARTS))
def test_a_pack_is_like_any_other_wherever_it_started(start, plain, german, examples, settings, tmp_path):
    donor = replace(german, card=german.card.model_copy(update={"language": "nl"}))
    pack, report = learn_pack(
        plain.install(donor), "de", examples["de"], settings=settings, rows="float32", start=start
    )
    assert pack.vocabulary == german.vocabulary
    assert report.new_tokens == len(german.vocabulary.tokens)
    assert report.overlapping_tokens > 20
    assert 0 <= report.coverage.unused < report.new_tokens
    assert torch.equal(pack.rows, german.rows) == (start == "random")
    assert pack.card.settings["start"] == start
    assert b"nl" not in pack_files(pack)["pack.json"].replace(b"nly", b"")
    save_pack(pack, tmp_path / "de.babelpack")
    again = load_pack(tmp_path / "de.babelpack", plain.encoder, plain.base)
    texts = examples["de"].texts
    alone = plain.install(again).encode_texts(texts, language="de")
    assert torch.equal(alone, plain.install(donor).install(again).encode_texts(texts, language="de"))


def test_better_starts_are_nearer_to_the_english_texts(plain, examples, words):
    def error(start):
        learnt = babelclip.acquirers.Learnt(start_words(words, start))
        return (learnt.encode(plain.encoder, examples["de"].texts, "de") - examples["de"].teachers[:]).square().mean()

    assert error("pairs") < error("base")
    assert error("pairs") < error("random")


def test_unknown_starts_and_missing_packs_are_errors(plain, examples, settings, words):
    with pytest.raises(UnknownNameError, match=r"unknown start 'pair'.*Did you mean 'pairs'"):
        learn_pack(plain, "de", examples["de"], settings=settings, start="pair")
    with pytest.raises(SettingError, match="no pack of another language"):
        start_words(words, "packs")
    with pytest.raises(SettingError, match="no pack of another language"):
        start_words(replace(words, packs={}), "packs")


def test_a_pack_of_the_language_itself_is_no_donor(plain, german, examples, settings):
    assert grow_words(plain.install(german), examples["de"], settings).packs == {}
    assert list(grow_words(plain.install(german), examples["ru"], settings).packs) == ["de"]


def test_the_command_line_starts_where_it_is_told(captions, tiny_folder, tmp_path):
    def run(*more):
        common = ["--base", tiny_folder, "--data", captions / "de.tsv", "--language", "de", "--vocab-size", "400"]
        return CliRunner().invoke(
            app, [str(one) for one in ("learn", *common, "--epochs", 1, "--device", "cpu", *more)]
        )

    done = run("--out", tmp_path / "warm.babelpack", "--start", "pairs")
    assert done.exit_code == 0, done.output
    assert babelclip.packs.load_card(tmp_path / "warm.babelpack").settings["start"] == "pairs"
    for more, error, match in (
        (["--start", "nowhere"], UnknownNameError, "unknown start"),
        (["--start", "pairs", "--shared"], SettingError, "is for a pack"),
        (["--start", "packs"], SettingError, "no pack of another language"),
    ):
        out = tmp_path / ("new" if "--shared" in more else "new.babelpack")
        found = run("--out", out, *more).exception
        assert isinstance(found, error)
        assert match in str(found)
        assert not out.exists()
