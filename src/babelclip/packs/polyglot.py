"""A base model with packs: every language that is installed, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from babelclip.acquirers import Acquirers
from babelclip.data import Examples
from babelclip.encoders import DEFAULT_MODEL, DualEncoder, encode_tokens
from babelclip.encoders.base import PlainTower, Progress
from babelclip.errors import NOT_INSTALLED, FormatError, SettingError, UnknownNameError, refuse_one
from babelclip.evaluation import retrieval_scores
from babelclip.languages import NATIVE, normalise_tag
from babelclip.lexicon import Lexicon, Vocabulary, tokenise
from babelclip.lexicon.kinds import build_tokenizer
from babelclip.packs.pack import Pack
from babelclip.packs.profile import Profile
from babelclip.packs.router import Router, Routes

AUTO = "auto"
Language = str | Sequence[str | None] | None


@dataclass(frozen=True)
class Chosen:
    """Which languages' words read N texts.

    Attributes:
        tags: the language of each.
        seconds: where two languages are blended, by the place of the text: the second one, and the share of the first.
    """

    tags: list[str]
    seconds: dict[int, tuple[str, float]]


class Polyglot:
    """A frozen base model and any number of packs; immutable: ``install`` and ``remove`` return another one.

    English texts and all pictures have exactly the vectors of the base model, and a language exactly those that it has
    alone, whatever else is installed (bit for bit on a CPU, for texts of one language that are encoded together).

    Attributes:
        encoder: the base model.
        base: its own lexicon.
        packs: by tag, in the order of their tags, so that the order of installing changes nothing.
        tower: runs texts that get no modules in the place of the base model's text tower; all vectors of such texts
            are then as exact as it is. None: the base model's own.
    """

    def __init__(
        self, encoder: DualEncoder, base: Lexicon, packs: Iterable[Pack] = (), *, tower: PlainTower | None = None
    ) -> None:
        """Put packs beside a base model; arguments as the attributes of the class.

        Raises:
            FormatError: a pack is for another base model.
            SettingError: a language stands twice, or it is the base model's own.
        """
        self.encoder, self.base, self.tower = encoder, base, tower
        self.packs: dict[str, Pack] = {}
        for pack in sorted(packs, key=lambda pack: pack.language):
            self._check(pack)
            self.packs[pack.language] = pack
        tables, self._words = [base.table], {NATIVE: _Words.of_base(base)}
        start = len(base.table)
        for tag, pack in self.packs.items():
            self._words[tag] = _Words.of_pack(base, pack, start)
            tables.append(pack.rows)
            start += len(pack.rows)
        self._table = torch.cat(tables).to(encoder.device)
        self._acquirers = _together(self.packs.values())
        self._router: Router | None = None

    def _check(self, pack: Pack) -> None:
        found, own = pack.card.base.fingerprint, self.encoder.fingerprint
        if found != own:
            raise FormatError(
                f"the pack {pack.language!r} is for {pack.card.base.name!r} with fingerprint {found[:12]}, but the "
                f"base model is {self.encoder.name!r} with {own[:12]}",
                fix="Install it beside its own base model, or learn the language for this one.",
            )
        if pack.language == NATIVE:
            raise SettingError(
                f"{NATIVE!r} is the base model's own language", fix="Nothing needs to be installed for it."
            )
        if pack.language in self.packs:
            raise SettingError(
                f"there are two packs for {pack.language!r}", fix="Remove one first, or give it a tag with a region."
            )

    @classmethod
    def load(
        cls, model: Path | str = DEFAULT_MODEL, *, base: Path | str | None = None, device: str | None = None
    ) -> Polyglot:
        """Load a folder of packs, one pack, or a base model; arguments and errors as for ``load_polyglot``."""
        from babelclip.packs.installed import load_polyglot

        return load_polyglot(model, base=base, device=device)

    @property
    def languages(self) -> list[str]:
        """Tags of all languages, the base model's own first."""
        return [NATIVE, *self.packs]

    @property
    def routable(self) -> bool:
        """Whether the language of a text can be found out: no pack was built without texts."""
        return all(pack.profiles is not None for pack in self.packs.values())

    def install(self, pack: Pack, *, replace: bool = False) -> Polyglot:
        """Return a polyglot with one more pack.

        Args:
            pack: for the same base model.
            replace: in the place of the installed one of the same language.

        Raises:
            FormatError: it is for another base model.
            SettingError: the language is installed already.
        """
        kept = [one for tag, one in self.packs.items() if not (replace and tag == pack.language)]
        return Polyglot(self.encoder, self.base, [*kept, pack], tower=self.tower)

    def remove(self, language: str) -> Polyglot:
        """Return a polyglot without a language, as if it had never been installed.

        Raises:
            UnknownNameError: it is not installed.
            SettingError: it is the base model's own.
        """
        tag = self._known(language)
        if tag == NATIVE:
            raise SettingError(
                f"{NATIVE!r} is the base model's own language and cannot be removed",
                fix=f"Name an installed one: {', '.join(self.packs) or '(none)'}.",
            )
        kept = [pack for one, pack in self.packs.items() if one != tag]
        return Polyglot(self.encoder, self.base, kept, tower=self.tower)

    def with_tower(self, tower: PlainTower | None) -> Polyglot:
        """Return the same polyglot, whose texts are run by another tower where they get no modules (``export``).

        The base model stays as it is, and so does what is learnt from it; vectors are as exact as the tower is.
        """
        return Polyglot(self.encoder, self.base, self.packs.values(), tower=tower)

    def encode_texts(self, texts: Sequence[str], *, language: Language = None, blend: bool = True) -> Tensor:
        """Return (N, dim) vectors of texts, on the CPU, not normalised; texts of all languages in one pass.

        Args:
            texts: the texts.
            language: of all texts, or of each; ``auto`` or None where it is to be found out (``route``).
            blend: where it was found out but not surely (``Routes.unsure``), mix the two best languages' unit vectors
                by their probabilities, at the length of the better one's vector. A language that is given is never
                blended.

        Raises:
            UnknownNameError: a language is not installed.
            SettingError: the number of languages is not that of the texts, a pack cannot be routed to, or one text is
                given and no list.
            DataError: a text holds half of a surrogate pair.
        """
        refuse_one("texts", texts)
        return self.encode_chosen(texts, self.choose(texts, language=language, blend=blend))

    def choose(self, texts: Sequence[str], *, language: Language = None, blend: bool = True) -> Chosen:
        """Return which languages' words read each text; arguments and errors as for ``encode_texts``."""
        tags = self._tags(texts, language)
        unknown = [place for place, tag in enumerate(tags) if tag is None]
        seconds = {}
        if unknown:
            routes = self.route([texts[place] for place in unknown])
            for place, tag in zip(unknown, routes.tags, strict=True):
                tags[place] = tag
            shares = (routes.probability / (routes.probability + routes.second_probability)).tolist()
            for route in torch.nonzero(routes.unsure & blend).flatten().tolist():
                seconds[unknown[route]] = routes.languages[int(routes.second[route])], shares[route]
        return Chosen(list(map(str, tags)), seconds)

    @torch.inference_mode()
    def encode_chosen(self, texts: Sequence[str], chosen: Chosen) -> Tensor:
        """Return (N, dim) vectors of texts as ``encode_texts`` does, read as it was chosen."""
        again = list(chosen.seconds)
        others = [chosen.seconds[place][0] for place in again]
        found = self._encode([*texts, *(texts[place] for place in again)], [*chosen.tags, *others])
        vectors, mixed_in = found[: len(texts)], found[len(texts) :]
        share = torch.tensor([chosen.seconds[place][1] for place in again])[:, None]
        vectors[again] = _mix(vectors[again], mixed_in, share)
        return vectors

    def count_tokens(self, texts: Sequence[str], languages: Sequence[str]) -> int:
        """Return how many tokens the tower reads of texts, each in a known language, start and end included."""
        return sum(len(self._words[tag].encode([text])[0]) for text, tag in zip(texts, languages, strict=True))

    def evaluate(self, examples: Examples, *, language: str | None = None) -> dict[str, float]:
        """Return the retrieval scores of one language's examples: all ``METRICS`` in percent, and the median ranks.

        Args:
            examples: texts and pictures; the gallery is all their pictures.
            language: whose words and modules are used; None where it is to be found out for each text.
        """
        texts = self.encode_texts(examples.texts, language=language)
        return retrieval_scores(texts, examples.images[:], examples.owner)

    def route(self, texts: Sequence[str]) -> Routes:
        """Find the language of texts among the installed ones and the base model's own.

        Raises:
            SettingError: a pack was built without texts, so nothing is known of how its language looks.
        """
        if not self.packs:
            return Routes.all_to(NATIVE, len(texts))
        if self._router is None:
            known = {tag: pack.profiles for tag, pack in self.packs.items() if pack.profiles is not None}
            for tag in self.packs.keys() - known.keys():
                raise SettingError(
                    f"the pack {tag!r} was built without texts, so its language cannot be recognised",
                    fix="Say the language of each text, or build the pack again with --data.",
                )
            native = Profile.merged([profiles.native for profiles in known.values()])
            self._router = Router({NATIVE: native} | {tag: profiles.own for tag, profiles in known.items()}, NATIVE)
        return self._router.route(texts)

    def encode_images(self, files: Sequence[Path | str], *, progress: Progress | None = None) -> Tensor:
        """Return (N, dim) vectors of pictures and videos, not normalised: the base model's, whatever is installed.

        Raises:
            SettingError: one path is given and no list.
            DataError: a picture or video is missing or damaged.
        """
        refuse_one("files", files)
        return self.encoder.encode_images([Path(file) for file in files], progress=progress)

    def _tags(self, texts: Sequence[str], language: Language) -> list[str | None]:
        """The tag of each text; None where it is to be found out."""
        given = [language] * len(texts) if language is None or isinstance(language, str) else list(language)
        if len(given) != len(texts):
            raise SettingError(
                f"{len(texts):,} texts, but {len(given):,} languages", fix="Give one for all, or one for each."
            )
        return [None if tag is None or tag == AUTO else self._known(tag) for tag in given]

    def _known(self, language: str) -> str:
        tag = normalise_tag(language)
        if tag not in self._words:
            raise UnknownNameError("installed language", tag, self._words, likely=(), more=NOT_INSTALLED)
        return tag

    def _encode(self, texts: Sequence[str], tags: Sequence[str]) -> Tensor:
        """Encode texts of known languages in one pass."""
        sequences: list[list[int]] = [[] for _ in texts]
        eos = torch.empty(len(texts), dtype=torch.int64)
        for tag in dict.fromkeys(tags):
            words, places = self._words[tag], [place for place, one in enumerate(tags) if one == tag]
            eos[places] = words.eos
            for place, ids in zip(places, words.encode([texts[place] for place in places]), strict=True):
                sequences[place] = ids
        return encode_tokens(
            self.encoder, self._table, sequences, self._acquirers, list(tags), eos=eos, plain=self.tower,
            batch_size=256 if self.tower is None else 64,
        )  # fmt: skip


@dataclass
class _Words:
    """How the texts of one language become rows of the common table.

    Attributes:
        base: the base model's lexicon.
        vocabulary: what stands behind its own.
        place_of: row of each id of the snapshot in the common table.
    """

    base: Lexicon
    vocabulary: Vocabulary
    place_of: Sequence[int]
    _tokenizer: Tokenizer | None = None

    @classmethod
    def of_base(cls, base: Lexicon) -> _Words:
        """The base model's own: ids are rows."""
        return cls(base, Vocabulary(()), range(len(base.table)))

    @classmethod
    def of_pack(cls, base: Lexicon, pack: Pack, start: int) -> _Words:
        """Those of a pack, whose rows stand in the common table from ``start`` on."""
        place_of = torch.arange(len(base.table) + len(pack.vocabulary.tokens))
        place_of[pack.ids] = torch.arange(start, start + len(pack.ids))
        return cls(base, pack.vocabulary, place_of.tolist())

    @property
    def eos(self) -> int:
        """Row of the end-of-text token."""
        return self.place_of[self.base.frame.eos]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the rows of texts, with start and end, at most the tower's limit."""
        if self._tokenizer is None:  # building one takes 0.4 s for CLIP's 49,408 tokens
            whole = self.base.vocabulary + self.vocabulary
            self._tokenizer = build_tokenizer(self.base.base_tokenizer, whole)
        sequences = self.base.add_specials(tokenise(self._tokenizer, texts))
        return [[self.place_of[token] for token in sequence] for sequence in sequences]


def _together(packs: Iterable[Pack]) -> Acquirers:
    """The modules of all packs; kinds with other options stand side by side, each with its own languages."""
    kinds = {}
    for pack in packs:
        for name, kind in pack.acquirers.kinds.items():
            options = ",".join(f"{option}={value}" for option, value in sorted(kind.options.items()))
            place = f"{name}({options})"
            if place not in kinds:
                kinds[place] = copy(kind)
                kinds[place].modules = {}
            kinds[place].modules.update(kind.modules)
    return Acquirers(dict(sorted(kinds.items())))


def _mix(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Mix unit vectors by (B, 1) the share of the first; the result is as long as the first was."""
    length = first.norm(dim=1, keepdim=True)
    mixed: Tensor = length * (share * first / length + (1 - share) * second / second.norm(dim=1, keepdim=True))
    return mixed
