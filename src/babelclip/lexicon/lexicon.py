"""The lexicon: vocabulary, token rows, usage counts and one snapshot per language."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor

from babelclip.encoders.frame import Frame
from babelclip.errors import ModelError, SettingError, UnknownNameError
from babelclip.lexicon.kind import Wish
from babelclip.lexicon.kinds import build_tokenizer, kind_of, learn_vocabulary, read_vocabulary
from babelclip.lexicon.merge import Growth, merge_vocabularies
from babelclip.lexicon.plain import mark_specials
from babelclip.lexicon.room import append_rows
from babelclip.lexicon.rows import INITIALISERS
from babelclip.lexicon.tokens import tokenise
from babelclip.lexicon.vocabulary import Snapshot, Vocabulary


@dataclass
class Lexicon:
    """Everything about words.

    Attributes:
        base_tokenizer: the base model's tokenizer, for its algorithm.
        vocabulary: all tokens, with their merges or scores; the base model's come first.
        table: (V, width) float32 token rows, never written to: others may stand in the same memory (``room``).
        uses: (V,) int64, the papers' token frequency n_i: 1 + (earlier tasks that used the token) + 1[base token], so
            English pre-training counts as one use of every base token.
        frame: what the tower wants around the pieces of a text.
        snapshots: language -> size of the vocabulary when it was learnt, in the order of learning.
        complete: whether the vocabulary holds the tokens of languages to come, so that ``grow`` appends none.
    """

    base_tokenizer: Tokenizer
    vocabulary: Vocabulary
    table: Tensor
    uses: Tensor
    frame: Frame
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    complete: bool = False
    _tokenizers: dict[Snapshot, Tokenizer] = field(init=False, repr=False, compare=False, default_factory=dict)

    @classmethod
    def from_base(cls, tokenizer: Tokenizer, table: Tensor, frame: Frame) -> Lexicon:
        """Start from a base model.

        Args:
            tokenizer: of one of the kinds in ``kinds.KINDS``.
            table: (V, width) rows; rows behind the last token, which no text reaches, are left out.
            frame: what the tower wants around the pieces of a text.

        Raises:
            ModelError: the table and the tokenizer disagree, or some text could not be written with the vocabulary.
        """
        vocabulary = read_vocabulary(tokenizer)
        count = len(vocabulary.tokens)
        if len(table) < count or max(frame.specials) >= count:
            what = f"special tokens have ids up to {max(frame.specials)}" if len(table) >= count else ""
            raise ModelError(
                f"the tokenizer has {count} tokens but {what or f'the token table has {len(table)} rows'}",
                fix="Tokenizer and model must come from the same folder.",
            )
        tokenizer = mark_specials(tokenizer, frame.specials)
        if problem := kind_of(tokenizer).problem(tokenizer, vocabulary, frame.eos):
            raise ModelError(problem, fix="Use a base model whose tokenizer has a token for whatever text there is.")
        uses = torch.full((count,), 2, dtype=torch.int64)
        return cls(tokenizer, vocabulary, table[:count].float().clone(), uses, frame)

    @property
    def bos(self) -> int | None:
        """Id of the start token; None where texts have none."""
        return self.frame.bos

    @property
    def eos(self) -> int:
        """Id of the end-of-text token."""
        return self.frame.eos

    @property
    def languages(self) -> list[str]:
        """Languages in the order in which they were learnt."""
        return list(self.snapshots)

    def copy(self) -> Lexicon:
        """Return a lexicon that can be grown and trained without changing this one."""
        return dataclasses.replace(self, uses=self.uses.clone(), snapshots=dict(self.snapshots))

    def with_table(self, table: Tensor) -> Lexicon:
        """Return the same words with other (V, width) rows, to encode with; tokenizers are not built again."""
        other = dataclasses.replace(self, table=table)
        other._tokenizers.update(self._tokenizers)
        return other

    def grow(
        self, language: str, texts: Iterable[str], wish: Wish, *, initialiser: str, generator: torch.Generator
    ) -> Growth:
        """Learn a language's vocabulary from its training texts, append what is new, and keep a snapshot.

        Old ids, rows and counts stay bit for bit; new rows follow ``initialiser``; new counts are 1. A lexicon that is
        ``complete`` keeps its vocabulary.

        Args:
            language: its tag.
            texts: training texts only.
            wish: what the language's vocabulary is to be like (papers: 10,000 tokens).
            initialiser: a name of ``INITIALISERS``.
            generator: chance for the new rows.

        Raises:
            SettingError: the language was learnt before.
            UnknownNameError: there is no such initialiser.
        """
        if language in self.snapshots:
            raise SettingError(
                f"{language!r} was learnt before (languages: {', '.join(self.languages)})",
                fix="Go on with it (again=True, --again), start from a model without it, or choose another tag such as "
                "one with a region.",
            )
        if self.complete:
            growth = Growth(self.vocabulary, 0, 0, 0)
        else:
            growth = self._append(texts, wish, initialiser, generator)
        self.snapshots[language] = growth.vocabulary.size
        return growth

    def complete_with(
        self, texts: Iterable[str], wish: Wish, *, initialiser: str, generator: torch.Generator
    ) -> Growth:
        """Learn one vocabulary for all languages to come; ``grow`` then appends nothing. Arguments as for ``grow``."""
        growth = self._append(texts, wish, initialiser, generator)
        self.complete = True
        return growth

    def _append(self, texts: Iterable[str], wish: Wish, initialiser: str, generator: torch.Generator) -> Growth:
        """Learn a vocabulary and append what is new."""
        make_rows = INITIALISERS[initialiser]
        growth = merge_vocabularies(
            self.vocabulary, learn_vocabulary(texts, self.base_tokenizer, wish, self.vocabulary)
        )
        rows = make_rows(self.table, growth.new_tokens, generator)
        self.vocabulary = growth.vocabulary
        self.table = append_rows(self.table, rows)
        self.uses = torch.cat([self.uses, torch.ones(growth.new_tokens, dtype=torch.int64)])
        return growth

    def tokenizer(self, language: str | None = None) -> Tokenizer:
        """Return the tokenizer of today, or the snapshot that a language was learnt with (no tokenisation drift).

        Raises:
            UnknownNameError: the language has not been learnt.
        """
        if language is not None and language not in self.snapshots:
            raise UnknownNameError("learnt language", language, self.snapshots)
        size = self.vocabulary.size if language is None else self.snapshots[language]
        if size not in self._tokenizers:  # building one takes 0.4 s for CLIP's 49,408 tokens
            self._tokenizers[size] = build_tokenizer(self.base_tokenizer, self.vocabulary.first(size))
        return self._tokenizers[size]

    def add_specials(self, tokens: Iterable[Sequence[int]]) -> list[list[int]]:
        """Put what the tower wants around token ids, and cut at its limit, keeping the end."""
        return [self.frame.wrap(ids) for ids in tokens]

    def encode(self, texts: Sequence[str], language: str | None = None) -> list[list[int]]:
        """Return the tower's input ids of texts: start, pieces, end, and padding where the tower reads it."""
        return self.add_specials(tokenise(self.tokenizer(language), texts))

    def count_use(self, tokens_of_task: Tensor) -> None:
        """Count one more use, n_i <- n_i + 1, for the tokens T_t of a finished task."""
        self.uses[tokens_of_task] += 1
