"""WordPiece, as BERT has it: the longest token that fits, then the longest that continues it ("##"), and so on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from babelclip.lexicon.kind import Wish
from babelclip.lexicon.merging import learn_merges
from babelclip.lexicon.plain import can_end, read_tokens, take_out, with_model
from babelclip.lexicon.vocabulary import Vocabulary


class WordPiece:
    """WordPiece."""

    name = "WordPiece"

    def fits(self, blank: dict[str, Any]) -> bool:
        """See ``Kind``."""
        return bool(blank["model"]["type"] == "WordPiece")

    def learn(self, texts: Iterable[str], base: Tokenizer, wish: Wish, old: Vocabulary) -> Vocabulary:
        """See ``Kind``; merges of a BPE make the tokens, as in the library, and are then forgotten.

        Every letter is a token, and with the mark of a continuation another one where it can stand inside a word: so no
        word of these letters is unknown.
        """
        blank = take_out(base)
        mark = blank["model"]["continuing_subword_prefix"]

        def complete(symbols: set[str]) -> list[str]:
            letters = sorted({one.removeprefix(mark) for one in symbols} - {""})
            return letters + [mark + letter for letter in letters if _joins(base, letter)]

        texts = list(texts)
        learnt = learn_merges(
            texts, blank, wish, prefix=mark, order=complete,
            apart=_short_words(blank["model"]["max_input_chars_per_word"]),
        )  # fmt: skip
        return Vocabulary(learnt.tokens)

    def read(self, tokenizer: Tokenizer) -> Vocabulary:
        """See ``Kind``."""
        return Vocabulary(read_tokens(tokenizer))

    def build(self, base: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
        """See ``Kind``.

        BERT calls words of more than 100 letters unknown, and so whole sentences of a language without spaces. Behind
        its own vocabulary such words are cut into parts of 100 letters first.
        """
        blank = take_out(base)
        model = blank["model"]
        grown = len(vocabulary.tokens) > base.get_vocab_size(with_added_tokens=True)
        short = _short_words(model["max_input_chars_per_word"]) if grown else None
        return with_model(blank, _model(model, vocabulary.tokens), apart=short)

    def cut(self, base: Tokenizer, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[list[int]]:
        """See ``Kind``."""
        model = take_out(base)["model"]
        mark, ids = model["continuing_subword_prefix"], {token: i for i, token in enumerate(vocabulary.tokens)}
        beginning = _model(model, vocabulary.tokens)
        continuing = {token: i for token, i in ids.items() if token.startswith(mark) or token == model["unk_token"]}
        continuing |= {token.removeprefix(mark): i for token, i in continuing.items() if token != mark}
        inside = models.WordPiece(
            continuing, unk_token=model["unk_token"], continuing_subword_prefix=mark,
            max_input_chars_per_word=model["max_input_chars_per_word"],
        )  # fmt: skip
        return [
            [
                piece.id
                for piece in (
                    inside.tokenize(token.removeprefix(mark)) if token.startswith(mark) else beginning.tokenize(token)
                )
            ]
            for token in tokens
        ]

    def problem(self, base: Tokenizer, vocabulary: Vocabulary, eos: int) -> str | None:
        """See ``Kind``."""
        probe = self.build(base, vocabulary)
        unknown = probe.token_to_id(take_out(base)["model"]["unk_token"])
        if unknown is None:
            return "the base tokenizer has no token for unknown text, so it cannot cut every caption"
        if eos == unknown or can_end(probe, eos):
            return "the base tokenizer writes the end-of-text token for unknown text, which would end a caption early"
        return None

    def flaw(self, base: Tokenizer, old: Vocabulary, new: Vocabulary) -> str | None:
        """See ``Kind``."""
        return "there are merges or scores, but a WordPiece has none" if new.merges or new.scores else None


WORDPIECE = WordPiece()


def _model(options: dict[str, Any], tokens: Sequence[str]) -> models.WordPiece:
    return models.WordPiece(
        {token: i for i, token in enumerate(tokens)}, unk_token=options["unk_token"],
        max_input_chars_per_word=options["max_input_chars_per_word"],
        continuing_subword_prefix=options["continuing_subword_prefix"],
    )  # fmt: skip


def _joins(base: Tokenizer, letter: str) -> bool:
    """Whether a letter can stand inside a word: Chinese signs, for one, are words of their own in BERT."""
    pieces = [f"a{letter}a"]
    if base.normalizer is not None:
        pieces = [base.normalizer.normalize_str(pieces[0])]
    if base.pre_tokenizer is not None:
        pieces = [word for word, _ in base.pre_tokenizer.pre_tokenize_str(pieces[0])]
    return letter not in pieces


def _short_words(longest: int) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(rf"[\s\S]{{1,{longest}}}"), behavior="isolated")
