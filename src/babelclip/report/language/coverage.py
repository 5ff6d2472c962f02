"""How the captions of a language are cut into pieces, and what in them the pack has never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from babelclip.errors import SettingError
from babelclip.lexicon import tokenise
from babelclip.packs import Pack, Polyglot
from babelclip.report.language.words import is_spaceless, words_of


@dataclass(frozen=True)
class Cutting:
    """How texts are cut: mean pieces of a text, and of a word between spaces (None where there are no spaces)."""

    per_text: float
    per_word: float | None


@dataclass(frozen=True)
class CutWord:
    """A word, or a character of a language without spaces, that is cut into several pieces.

    Attributes:
        word: in small letters.
        captions: number of captions with it.
        pieces: how many pieces it has.
        shown: the pieces as far as they are whole characters.
    """

    word: str
    captions: int
    pieces: int
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Unseen:
    """What the training captions had not.

    Attributes:
        words: words of the captions with a piece that stood in no training caption, and the number of captions with
            each, the most frequent first; none of a language without spaces.
        characters: characters that stood in no training caption, likewise.
        captions: number of captions with such a piece.
    """

    words: tuple[tuple[str, int], ...]
    characters: tuple[tuple[str, int], ...]
    captions: int


@dataclass(frozen=True)
class NotRecognised:
    """A caption that would be taken for another language: its number, that language, and how sure the program is."""

    caption: int
    language: str
    probability: float


@dataclass(frozen=True)
class Coverage:
    """Everything about pieces.

    Attributes:
        spaceless: the language is written without spaces, so that characters take the place of words.
        pack: cut as the pack cuts.
        base: cut as the base model alone would cut.
        english: the English texts as the base model cuts them.
        most: words that are cut into most pieces, at least two; of a language without spaces, characters that are cut
            where they stand in captions.
        unseen: what training had not; None where ``unknown`` says why it cannot be known.
        unknown: a reason, or empty.
        cut: number of captions that are longer than the tower's limit, so that their end is not read.
        limit: that limit in pieces, start and end not counted.
        recognised: captions that would be taken for another language; None where ``not_routed`` says why not.
        not_routed: a reason, or empty.
    """

    spaceless: bool
    pack: Cutting
    base: Cutting
    english: Cutting
    most: tuple[CutWord, ...]
    unseen: Unseen | None
    unknown: str
    cut: int
    limit: int
    recognised: tuple[NotRecognised, ...] | None
    not_routed: str


def measure(polyglot: Polyglot, language: str, texts: Sequence[str], english: Sequence[str]) -> Coverage:
    """Look at how captions are cut, and whether their language is recognised.

    Args:
        polyglot: with a pack of the language.
        language: its tag.
        texts: M captions.
        english: M English ones.
    """
    pack, base = polyglot.packs[language], polyglot.base
    own = pack.learnt(base).lexicon.tokenizer(language)
    spaceless = is_spaceless(texts)
    tokens, limit = tokenise(own, texts), base.frame.room
    words: Counter[str] = Counter() if spaceless else Counter(word for text in texts for word in set(words_of(text)))
    unknown = why_unknown(pack, base.eos)
    routed, not_routed = _route(polyglot, language, texts)
    return Coverage(
        spaceless=spaceless,
        pack=_cutting(own, texts, spaceless), base=_cutting(base.tokenizer(), texts, spaceless),
        english=_cutting(base.tokenizer(), english, spaceless=False),
        most=_cut_characters(own, texts) if spaceless else _cut_words(own, words),
        unseen=None if unknown else find_unseen(pack, own, texts, words), unknown=unknown,
        cut=int((tokens.lengths > limit).sum()), limit=limit, recognised=routed, not_routed=not_routed,
    )  # fmt: skip


def why_unknown(pack: Pack, eos: int) -> str:
    """Say why a pack does not tell what its training captions had, or return an empty string.

    It tells where the rows that training used, and only those, are its own: each text uses the end-of-text token.
    """
    if pack.card.settings.get("idle_decay") is not False:
        return "The pack was not learnt alone, so its rows do not tell which of them its own captions used."
    if eos not in pack.ids.tolist():
        return "The pack was learnt without changing the base model's rows, so they do not tell what was used."
    return ""


def find_unseen(pack: Pack, own: Tokenizer, texts: Sequence[str], words: Counter[str]) -> Unseen:
    """Find what no training caption had: pieces of the base model without a row of the pack's own.

    Args:
        pack: learnt alone.
        own: its tokenizer.
        texts: M captions.
        words: of the captions, and the number of captions with each.
    """
    known = frozenset(pack.ids.tolist())

    def is_new(text: str) -> bool:
        return not known.issuperset(own.encode(text, add_special_tokens=False).ids)

    letters = Counter(
        letter for text in texts for letter in set(text.lower()) if letter.isprintable() and letter != " "
    )
    suffix = getattr(own.model, "end_of_word_suffix", None) or ""
    written = {letter for token in known for letter in own.decode([token]).strip().removesuffix(suffix)}
    return Unseen(
        words=_frequent((word, count) for word, count in words.items() if is_new(word)),
        characters=_frequent((one, count) for one, count in letters.items() if one not in written and is_new(one)),
        captions=sum(not known.issuperset(tokens) for tokens in tokenise(own, texts)),
    )


def _frequent(counts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts, key=lambda one: (-one[1], one[0])))


def _cutting(tokenizer: Tokenizer, texts: Sequence[str], spaceless: bool) -> Cutting:
    pieces = int(tokenise(tokenizer, texts).lengths.sum())
    words = sum(len(text.split()) for text in texts)
    return Cutting(pieces / len(texts), None if spaceless else pieces / words)


def _cut_words(tokenizer: Tokenizer, words: Counter[str]) -> tuple[CutWord, ...]:
    """Words of at least two pieces."""
    found = []
    for word, count in words.items():
        encoding = tokenizer.encode(word, add_special_tokens=False)
        spans = dict.fromkeys(encoding.offsets)  # parts of one character have the same span
        if len(encoding.ids) > 1:
            found.append(CutWord(word, count, len(encoding.ids), tuple(word[a:b] for a, b in spans)))
    return _most_pieces(found)


def _cut_characters(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[CutWord, ...]:
    """Characters that are cut where they stand in texts."""
    captions: Counter[str] = Counter()
    pieces: dict[str, int] = {}
    for text, encoding in zip(texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True):
        parts = {text[a:b]: count for (a, b), count in Counter(encoding.offsets).items() if count > 1}
        captions.update(parts.keys())
        pieces |= {letter: max(count, pieces.get(letter, 0)) for letter, count in parts.items()}
    return _most_pieces([CutWord(one, captions[one], count, (one,)) for one, count in pieces.items()])


def _most_pieces(found: list[CutWord]) -> tuple[CutWord, ...]:
    """The most pieces first, then the most frequent."""
    return tuple(sorted(found, key=lambda one: (-one.pieces, -one.captions, one.word)))


def _route(
    polyglot: Polyglot, language: str, texts: Sequence[str]
) -> tuple[tuple[NotRecognised, ...] | None, str]:  # fmt: skip
    """Captions that would be taken for another language, the surest first; or a reason why that cannot be said."""
    if missing := [tag for tag, pack in polyglot.packs.items() if pack.profiles is None]:
        return None, (
            f"The packs {', '.join(missing)} were built without captions, so that no language can be recognised here: "
            f"it must be said with each search."
        )
    try:
        routes = polyglot.route(texts)
    except SettingError as error:
        return None, f"{error.what}. {error.fix}"
    wrong = [
        NotRecognised(caption, best, float(routes.probability[caption]))
        for caption, best in enumerate(routes.tags)
        if best != language
    ]
    return tuple(sorted(wrong, key=lambda one: (-one.probability, one.caption))), ""
