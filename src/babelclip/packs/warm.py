"""Where the rows of a new pack start: at random, or from the base model, the training pairs, or installed packs.

A start pre-grows the base model's lexicon with the language's tokens and fills its table; the pack that is learnt from
it is like any other: it holds rows of its own only, and nothing in it refers to where they started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from babelclip.config import TaskSettings, derive_seed
from babelclip.data import Examples
from babelclip.errors import SettingError
from babelclip.lexicon import Growth, Lexicon, Tokens, Wish, tokenise
from babelclip.lexicon.kinds import kind_of
from babelclip.packs.align import align
from babelclip.packs.pack import Pack
from babelclip.packs.polyglot import Polyglot
from babelclip.registry import Registry
from babelclip.training import TaskReport


@dataclass(frozen=True)
class Words:
    """What a start may look at.

    Attributes:
        base: the base model's lexicon.
        grown: the same with the language's tokens behind; (V, width) rows, the new ones random.
        growth: what the language brought.
        tokens: the training texts, cut with the grown lexicon.
        english: their English texts, cut with the base tokenizer.
        packs: installed packs by tag, without one of the language itself.
    """

    base: Lexicon
    grown: Lexicon
    growth: Growth
    tokens: Tokens
    english: Tokens
    packs: Mapping[str, Pack]

    @property
    def new_tokens(self) -> tuple[str, ...]:
        """The tokens that the base model has not, in the order of their ids."""
        return self.grown.vocabulary.tokens[len(self.base.table) :]

    def tell(self, report: TaskReport) -> TaskReport:
        """Return a report on training that counts the language's tokens as new, though they were there at its start."""
        used = self.tokens.used()
        unused = self.growth.new_tokens - int((used >= len(self.base.table)).sum())
        return replace(
            report, coverage=replace(report.coverage, unused=unused), new_tokens=self.growth.new_tokens,
            overlapping_tokens=self.growth.overlapping_tokens,
        )  # fmt: skip


Start = Callable[[Words], Tensor]
"""Return the (V, width) table that training starts from."""


def random_rows(words: Words) -> Tensor:
    """New rows as the method or ``--set initialiser`` wants them; base rows as they are."""
    return words.grown.table


def base_rows(words: Words) -> Tensor:
    """A new token's row is the mean of the base rows of the pieces that the base tokenizer cuts it into.

    A token that ends a word is cut as the end of a word, any other as the beginning or middle of one. Scripts that the
    base tokenizer does not know fall into bytes, whose rows say next to nothing; their mean is taken all the same.
    """
    table, old = words.grown.table.clone(), len(words.base.table)
    for number, pieces in enumerate(cut_tokens(words.base, words.new_tokens)):
        if pieces:  # a tokenizer without bytes may know none of a token's letters
            table[old + number] = words.base.table[pieces].mean(dim=0)
    return table


def pair_rows(words: Words) -> Tensor:
    """A token's row is the mean of the base rows of the English tokens that it stands for in the training pairs.

    row(f) = sum_e c(f, e) row(e) / sum_e c(f, e) with the counts of IBM Model 1 (``align``). So begin all tokens
    that the texts use, tokens of the base model too: French "chat" is no talk. Others begin as ``base_rows``.
    """
    table = base_rows(words)
    foreign, english, counts = align(words.tokens, words.english)
    total = torch.zeros(len(table), dtype=torch.float64).index_add_(0, foreign, counts)
    rows = torch.zeros(table.shape, dtype=torch.float64)
    for part in torch.arange(len(counts)).split(100_000):  # the products of all entries at once would take gigabytes
        rows.index_add_(0, foreign[part], words.base.table[english[part]].double() * counts[part, None])
    found = total > 0
    table[found] = (rows[found] / total[found, None]).to(table.dtype)
    return table


def pack_rows(words: Words) -> Tensor:
    """As ``pair_rows``, but tokens that installed packs know lean on those the more, the fewer times they were seen.

    row(f) = (n pairs(f) + packs(f)) / (n + 1) with n the number of times that f occurs in the training texts: so a pack
    counts as much as one occurrence, and alone where there is none.
    """
    paired, (donated, given) = pair_rows(words), donated_rows(words)
    seen = torch.bincount(words.tokens.ids.long(), minlength=len(paired))[:, None]
    return torch.where(given[:, None], (seen * paired + donated) / (seen + 1), paired)


def donated_rows(words: Words) -> tuple[Tensor, Tensor]:
    """Return the rows (V, width) that installed packs have for tokens, and (V,) for which there are any.

    A token that several packs have takes the mean of their rows, weighted by ``relatedness``. Start and end of a text
    keep the base model's rows: those of a pack fit its other rows, and brought nothing (docs/warm.md).
    """
    old = len(words.base.table)
    place = {token: old + number for number, token in enumerate(words.new_tokens)}
    total, rows = torch.zeros(len(words.grown.table), 1), torch.zeros_like(words.grown.table)
    for pack in words.packs.values():
        weight, tokens = relatedness(words, pack), pack.vocabulary.tokens
        ids = torch.tensor([one if one < old else place.get(tokens[one - old], -1) for one in pack.ids.tolist()])
        found = (ids >= 0) & ~torch.isin(ids, torch.tensor(words.base.frame.specials))
        rows[ids[found]] += weight * pack.rows[found]
        total[ids[found]] += weight
    return rows / total.clamp(min=torch.finfo(torch.float32).tiny), total.squeeze(1) > 0


def relatedness(words: Words, pack: Pack) -> float:
    """Return how much of the training texts a pack knows: the share, 0 to 1, of their tokens that it has a row for.

    A token counts as often as it occurs. Base tokens count where the pack has a row of its own for them.
    """
    known, old = set(pack.vocabulary.tokens), len(words.base.table)
    own = torch.zeros(len(words.grown.table), dtype=torch.bool)
    own[pack.ids[pack.ids < old]] = True
    own[old:] = torch.tensor([token in known for token in words.new_tokens], dtype=torch.bool)
    return float(own[words.tokens.ids.long()].double().mean())


def cut_tokens(base: Lexicon, tokens: tuple[str, ...]) -> list[list[int]]:
    """Return the ids of the pieces that the base tokenizer cuts each token into, its beginning or end of word kept."""
    return kind_of(base.base_tokenizer).cut(base.base_tokenizer, base.vocabulary, tokens)


START = "random"
"""The usual one."""
STARTS: Registry[Start] = Registry(
    "start",
    {"random": random_rows, "base": base_rows, "pairs": pair_rows, "packs": pack_rows},
)


def grow_words(polyglot: Polyglot, examples: Examples, settings: TaskSettings) -> Words:
    """Grow a copy of the base model's lexicon by a language, with the same random rows as ``train_task`` would make.

    Args:
        polyglot: the base model and the packs beside it.
        examples: training texts.
        settings: of the task: its vocabulary, initialiser and seed.
    """
    lexicon = polyglot.base.copy()
    growth = lexicon.complete_with(
        examples.texts, Wish.of(settings), initialiser=settings.initialiser or "normal",
        generator=torch.Generator().manual_seed(derive_seed(settings.seed, "rows", examples.language)),
    )  # fmt: skip
    return Words(
        polyglot.base, lexicon, growth, tokenise(lexicon.tokenizer(), examples.texts),
        tokenise(polyglot.base.tokenizer(), examples.english),
        {tag: pack for tag, pack in polyglot.packs.items() if tag != examples.language},
    )  # fmt: skip


def start_words(words: Words, start: str | Start) -> Lexicon:
    """Return the grown lexicon with the rows that a start gives it.

    Args:
        words: from ``grow_words``; they are not changed.
        start: a name of ``STARTS``, or a function like those.

    Raises:
        UnknownNameError: there is no such start.
        SettingError: ``packs`` and there is no pack to start from.
    """
    make = STARTS[start] if isinstance(start, str) else start
    if make is pack_rows and not words.packs:
        raise SettingError(
            "start is 'packs', but no pack of another language is installed",
            fix="Install one beside the base model first, or start from 'pairs'.",
        )
    lexicon = words.grown.copy()
    lexicon.table = make(words)
    return lexicon
