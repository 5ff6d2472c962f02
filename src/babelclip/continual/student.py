"""A base model with the languages it has learnt: what users hold in their hands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from torch import Tensor

from babelclip.acquirers import Learnt
from babelclip.acquirers.store import load_learnt, pack_learnt
from babelclip.config import TaskSettings, recipe_for
from babelclip.continual.held_out import HeldOut
from babelclip.data import Cache, Corpus, Examples, Teacher, read_captions, user_cache
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DEFAULT_MODEL, FRAMES, DualEncoder, load_encoder
from babelclip.encoders.base import Progress
from babelclip.encoders.names import folder_of
from babelclip.errors import ModelError, SettingError, refuse_one
from babelclip.languages import normalise_tag
from babelclip.lexicon import Lexicon, read_multilingual
from babelclip.lexicon.store import LEXICON, read_lexicon_file, write_files
from babelclip.methods import Stack, compose
from babelclip.training import Checkpoints, OnStep, TaskReport, Validation, train_task


class Student:
    """A frozen base model, a lexicon that grows, and modules of the text tower. The image side never changes.

    Attributes:
        encoder: the base model.
        learnt: all words and modules learnt so far; a new object after each ``learn``.
        teacher: the base model's vectors, remembered.
    """

    def __init__(self, encoder: DualEncoder, learnt: Learnt | None = None, teacher: Teacher | None = None) -> None:
        """Start from a base model, or go on with what was learnt on it; ``load`` does it by name."""
        self.encoder = encoder
        self.learnt = Learnt.start(base_lexicon(encoder), encoder) if learnt is None else learnt
        self.teacher = Teacher(encoder) if teacher is None else teacher

    @property
    def lexicon(self) -> Lexicon:
        """All words learnt so far."""
        return self.learnt.lexicon

    @property
    def languages(self) -> list[str]:
        """Languages in the order in which they were learnt; the base model's own English is not listed."""
        return self.lexicon.languages

    def learn(
        self,
        language: str,
        data: Path | str | Corpus | Examples,
        *,
        method: str | Stack = "cll+counts",
        settings: TaskSettings | None = None,
        validation: Path | str | Corpus | Examples | Sequence[Examples] | None = None,
        on_step: OnStep | None = None,
        checkpoints: Checkpoints | Path | str | None = None,
        again: bool = False,
        note: Callable[[str], None] = warnings.warn,
    ) -> TaskReport:
        """Learn one language from captions.

        Args:
            language: its BCP-47 tag.
            data: a caption file (see ``read_captions``) or what was made of one.
            method: names joined by ``+``, which go on from what the same methods remember of earlier languages, or a
                stack that remembers by itself.
            settings: by default the papers' recipe, for ``pictoclip`` its own (docs/methods.md).
            validation: captions of the same language, or one set a language where ``data`` has several; the epoch with
                the best mean r_mean on them is kept. Without it, the last epoch.
            on_step: told about every step: a ``JsonlLog``, a ``TensorBoardLog``, or any function.
            checkpoints: a folder to save to, and to go on from if the same call was interrupted; delete it afterwards.
            again: go on with a language that was learnt before, on other data or with another method.
            note: told which languages the methods do not protect, because they were learnt without them.

        Raises:
            BabelclipError: the data or a setting cannot be used; the student is unchanged.
        """
        examples = self.examples(language, data)
        held_out = self._held_out(language, validation)
        stack = self._recall(method, examples.languages, note) if isinstance(method, str) else method
        stack.check_tower(self.encoder.text_tower.shape)
        self.learnt, report = train_task(
            self.encoder, self.learnt, examples, stack, settings or recipe_for(self.encoder.name),
            validation=self._validation(held_out, named=checkpoints is not None) if held_out else None,
            cache=self.teacher.cache, on_step=on_step,
            checkpoints=Checkpoints(Path(checkpoints)) if isinstance(checkpoints, (str, Path)) else checkpoints,
            again=again,
        )  # fmt: skip
        return report

    def _recall(self, method: str, languages: Sequence[str], note: Callable[[str], None]) -> Stack:
        """Compose methods that remember what they kept of the languages so far; ``languages``: of the task."""
        stack, others = compose(method), [tag for tag in self.languages if tag not in languages]
        stack.refuse_alone(languages)
        for name, tags in stack.ignorant(self.learnt.remembered, others).items():
            note(f"{name} remembers nothing of {', '.join(tags)}: learnt without it, they are not protected")
        stack.load_state_dict(self.learnt.remembered)
        return stack

    def _validation(self, held_out: Sequence[Examples], *, named: bool) -> Validation:
        """Choose by the mean r_mean over sets of examples; ``named``: say which they are."""
        sets = [HeldOut(self.encoder, one) for one in held_out]
        return Validation(
            lambda draft: fmean(one.score(draft)["r_mean"] for one in sets),
            " ".join(one.fingerprint() for one in held_out if named),
        )

    def _held_out(
        self, language: str, validation: Path | str | Corpus | Examples | Sequence[Examples] | None
    ) -> list[Examples]:
        """The validation sets of a task."""
        if validation is None:
            return []
        if isinstance(validation, (Path, str, Corpus, Examples)):
            return [self.examples(language, validation)]
        return list(validation)

    def encode_texts(self, texts: Sequence[str], *, language: str | None = None, snapshot: bool = True) -> Tensor:
        """Return (N, dim) vectors of texts in any learnt language, not normalised.

        Args:
            texts: the texts.
            language: their language: its modules are used, if it has any.
            snapshot: where a language is given, cut the texts with the tokenizer that it was learnt with (no
                tokenisation drift); False: with the newest, as without a language.

        Raises:
            UnknownNameError: the language has not been learnt.
            SettingError: one text is given and no list.
            DataError: a text holds half of a surrogate pair.
        """
        refuse_one("texts", texts)
        return self.learnt.encode(self.encoder, texts, language, snapshot=snapshot and language is not None)

    def encode_images(self, files: Sequence[Path | str], *, progress: Progress | None = None) -> Tensor:
        """Return (N, dim) vectors of pictures and videos, not normalised; no language ever changes them.

        Raises:
            SettingError: one path is given and no list.
            DataError: a picture or video is missing or damaged.
        """
        refuse_one("files", files)
        return self.encoder.encode_images([Path(file) for file in files], progress=progress)

    def evaluate(self, examples: Examples, *, learnt: Learnt | None = None) -> dict[str, float]:
        """Return the retrieval scores of one language's examples: all ``METRICS`` in percent, and the median ranks.

        Texts are cut with the newest tokenizer. Methods that need a text's language are told it.

        Args:
            examples: texts and pictures; the gallery is all their pictures.
            learnt: score with something else than the student's own.
        """
        return HeldOut(self.encoder, examples).score(learnt or self.learnt)

    def examples(
        self, language: str, data: Path | str | Corpus | Examples, progress: Progress | None = None
    ) -> Examples:
        """Read captions and put the teacher's vectors beside them; what is ready already is returned as it is.

        Raises:
            DataError: the file, a row or a picture cannot be used.
            SettingError: ready-made data is of another language.
        """
        if isinstance(data, (Corpus, Examples)) and data.language != normalise_tag(language):
            raise SettingError(
                f"the data is in {data.language!r}, but the language given is {language!r}", fix="Give matching ones."
            )
        if isinstance(data, Examples):
            return data
        corpus = data if isinstance(data, Corpus) else read_captions(Path(data), language)
        return self.teacher.prepare(corpus, progress)

    def save(self, folder: Path | str) -> None:
        """Write what was learnt; the base model is not copied, only named and fingerprinted."""
        write_files(pack_learnt(self.learnt, base_lexicon(self.encoder), self.encoder), Path(folder))


def load(
    model: Path | str = DEFAULT_MODEL, *, base: Path | str | None = None, plug: bool = False,
    lexicon: Path | str | None = None, lexicon_width: int | None = None, device: str | None = None,
    cache: Cache | None = None, frames: int = FRAMES,
) -> Student:  # fmt: skip
    """Load a base model, or a folder of learnt languages together with its base model.

    Args:
        model: ``pictoclip``, a model's folder, a hub id, or a folder written by ``Student.save``.
        base: where the base model of a learnt folder lies now, if it has moved.
        plug: let ``base`` be another base model than the one it was learnt on, with the same tokenizer and the same
            shape of its text tower, such as one that ``babelclip tune`` made of it (MLA's transfer of FT-En): rows and
            modules that were learnt are put into it, all other rows are its own.
        lexicon: begin with the words of a multilingual language model, a folder or hub id (``read_multilingual``), and
            not with the base model's own.
        lexicon_width: with random rows of this width instead of its word embeddings.
        device: ``cpu``, ``cuda``, ...; by default a GPU where there is one.
        cache: where vectors of pictures and English texts are kept; by default the user's cache (``user_cache``).
        frames: how many frames stand for a video, at most.

    Raises:
        ModelError: the base model cannot be loaded.
        SettingError: a lexicon is given for a learnt folder, only its width is given, or there are to be no frames.
        FormatError: the learnt folder, or a file of the cache, is damaged or belongs to another base model.
    """
    if lexicon is None and lexicon_width is not None:
        raise SettingError(
            f"lexicon_width={lexicon_width} is of the words of a lexicon, and none is given",
            fix="Give lexicon=FOLDER too.",
        )
    cache = user_cache() if cache is None else cache
    folder = Path(model)
    if not (folder / LEXICON).is_file():
        encoder = load_encoder(model, device=device, frames=frames)
        words = base_lexicon(encoder)
        if lexicon is not None:
            words = read_multilingual(lexicon, words, width=lexicon_width)
        return Student(encoder, Learnt.start(words, encoder), Teacher(encoder, cache))
    if lexicon is not None:
        raise SettingError(
            f"{str(model)!r} has words of its own, and a lexicon is given too", fix="Leave the lexicon away."
        )
    base = base or _base_of(folder)
    try:
        encoder = load_encoder(base, device=device, frames=frames)
    except ModelError as error:
        raise ModelError(
            f"the base model of {str(model)!r}, {str(base)!r}, cannot be loaded: {error.what}",
            fix="Say where it lies now: base=... in Python, --base in `babelclip evaluate`; and for good, in Python: "
            "babelclip.load(FOLDER, base=...).save(FOLDER).",
        ) from error
    return Student(encoder, load_learnt(folder, base_lexicon(encoder), encoder, plug=plug), Teacher(encoder, cache))


def _base_of(folder: Path) -> str:
    """The base model of a learnt folder; a relative path that leads nowhere from here is looked for beside it."""
    named, here = read_lexicon_file(folder).base, folder.resolve()
    if folder_of(named) is not None:
        return named
    return str(next((place / named for place in (here, here.parent) if (place / named).is_dir()), named))
