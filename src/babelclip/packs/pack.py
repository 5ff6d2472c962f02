"""A pack: everything that one language brings to a base model, and nothing else.

Its rows are its own: those of new tokens, and copies of the base model's rows that its texts use and that training
changed. So no other language can change it, and it changes no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from babelclip.acquirers import Acquirer, Acquirers, Learnt
from babelclip.acquirers.by_language import ByLanguage
from babelclip.encoders import DualEncoder
from babelclip.encoders.names import name_for_others
from babelclip.errors import SettingError, UnknownNameError
from babelclip.lexicon import Lexicon, MultilingualLexicon, Vocabulary
from babelclip.lexicon.store import fingerprint_tokenizer
from babelclip.packs.card import BaseModelCard, PackCard
from babelclip.packs.profile import KEEP_NATIVE, Profile
from babelclip.packs.quantise import pack_rows, unpack_rows


@dataclass(frozen=True)
class Profiles:
    """What the router knows of a pack, learnt from its training texts alone.

    Attributes:
        own: of the language's texts.
        native: of the same pictures' English texts; those of all installed packs together are English.
    """

    own: Profile
    native: Profile

    @classmethod
    def learn(cls, texts: Sequence[str], english: Sequence[str], *, file: Path | None = None) -> Profiles:
        """Count the pieces of training texts and of their English; ``file``: where they stand, for messages.

        Raises:
            DataError: there is no letter in any of the texts, or of the English ones.
        """
        return cls(
            Profile.learn(texts, file=file),
            Profile.learn(english, keep=KEEP_NATIVE, what="English training texts", file=file),
        )


@dataclass(frozen=True)
class Pack:
    """One learnt language.

    Attributes:
        card: what it says of itself.
        vocabulary: what stands behind the base tokenizer's; together they are its snapshot.
        ids: (R,) sorted ids, in the snapshot, of the tokens that have a row of their own; all new ones are among them.
        rows: (R, width) float32, as they are stored: rounded to the card's ``rows``.
        acquirers: the language's modules of the text tower.
        profiles: for the router; None where it was built without texts: the language must then always be said.
    """

    card: PackCard
    vocabulary: Vocabulary
    ids: Tensor
    rows: Tensor
    acquirers: Acquirers = field(default_factory=Acquirers)
    profiles: Profiles | None = None

    @property
    def language(self) -> str:
        """Its tag."""
        return self.card.language

    def learnt(self, base: Lexicon) -> Learnt:
        """Return the pack on its base model's own lexicon, as something that can be trained, measured or exported."""
        table = torch.cat([base.table, torch.zeros(len(self.vocabulary.tokens), base.table.shape[1])])
        table[self.ids] = self.rows
        whole = base.vocabulary + self.vocabulary
        uses = torch.cat([base.uses, torch.ones(len(self.vocabulary.tokens), dtype=torch.int64)])
        return Learnt(
            replace(
                base, vocabulary=whole, table=table, uses=uses, snapshots={self.language: whole.size},
            ),
            self.acquirers,
        )  # fmt: skip

    def __repr__(self) -> str:
        """Say language, base model and size."""
        base, count = self.card.base, len(self.rows)
        return f"Pack({self.language!r}, base {base.name!r} {base.fingerprint[:12]}, {count:,} rows {self.card.rows})"


def describe_base(encoder: DualEncoder, base: Lexicon) -> BaseModelCard:
    """Return what packs say of a base model."""
    return BaseModelCard(
        name=name_for_others(encoder.name), fingerprint=encoder.fingerprint, tokenizer=fingerprint_tokenizer(base),
        shape=asdict(encoder.text_tower.shape),
    )  # fmt: skip


def make_pack(
    encoder: DualEncoder, base: Lexicon, learnt: Learnt, language: str, *,
    method: str, rows: str = "float16", profiles: Profiles | None = None,
    settings: Mapping[str, float | int | str | None] | None = None,
) -> Pack:  # fmt: skip
    """Take one language out of what was learnt.

    Of a lexicon with several languages the pack holds all that was there when this one was learnt: its tokenizer needs
    it. Languages that are learnt alone, straight from the base model, make the smallest packs.

    Args:
        encoder: the base model.
        base: its own lexicon.
        learnt: what was learnt.
        language: tag of the language to take.
        method: how it was learnt.
        rows: how its rows are rounded and stored: ``float32``, ``float16`` or ``int8``.
        profiles: for the router.
        settings: of its task.

    Raises:
        UnknownNameError: the language has not been learnt.
        SettingError: its words or modules are shared between languages, so they cannot be one language's own.
        ModelError: a row cannot be stored.
    """
    lexicon = learnt.lexicon
    if isinstance(lexicon, MultilingualLexicon):
        raise SettingError(
            "the words of a multilingual lexicon belong to all languages, so no pack can hold one language's own",
            fix="Learn without --lexicon, or with --shared.",
        )
    if language not in lexicon.snapshots:
        raise UnknownNameError("learnt language", language, lexicon.snapshots)
    size, old = lexicon.snapshots[language], len(base.table)
    changed = torch.ones(size.num_tokens, dtype=torch.bool)
    changed[:old] = (lexicon.table[:old] != base.table).any(dim=1)
    ids = changed.nonzero().squeeze(1)
    acquirers = _own_modules(learnt.acquirers, language)
    card = PackCard.model_validate(
        {
            "language": language, "base": describe_base(encoder, base), "method": method, "rows": rows,
            "settings": dict(settings or {}), "modules": {name: kind.options for name, kind in acquirers.kinds.items()},
        }
    )  # fmt: skip
    return Pack(
        card=card,
        vocabulary=lexicon.vocabulary.first(size).behind(base.vocabulary.size),
        ids=ids,
        rows=unpack_rows(pack_rows(lexicon.table[ids], rows), rows),
        acquirers=acquirers,
        profiles=profiles,
    )


def check_kinds(kinds: Mapping[str, Acquirer]) -> None:
    """Refuse modules that are no language's own.

    Raises:
        SettingError: naming the kind.
    """
    for name, kind in kinds.items():
        if not isinstance(kind, ByLanguage) or kind.owner("x") != "x":
            raise SettingError(
                f"{name} has modules that languages share, so no pack can hold one language's own",
                fix="Learn with another method, such as mla, or with --shared.",
            )


def _own_modules(acquirers: Acquirers, language: str) -> Acquirers:
    """The modules of one language."""
    check_kinds(acquirers.kinds)
    kinds = {}
    for name, kind in acquirers.kinds.items():
        if language in kind.modules:
            kinds[name] = own = copy(kind)
            own.modules = {language: {key: one.detach().clone() for key, one in kind.modules[language].items()}}
    return Acquirers(kinds)
