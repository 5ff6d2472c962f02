"""From a plan and the places of its data to a student and the stages of its streams; all of it before any training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from babelclip.benchmarks.base import Dataset
from babelclip.benchmarks.plan import Plan, Source, Train
from babelclip.continual import Gallery, Stage, Student, load
from babelclip.data import Cache, Corpus, Examples, Images, read_image_vectors
from babelclip.encoders.base import Progress
from babelclip.errors import SettingError
from babelclip.evaluation import SEEN, Data
from babelclip.languages import normalise_tag
from babelclip.registry import Registry

Bar = Callable[[str], Progress]


@dataclass(frozen=True)
class Where:
    """Where things lie on this machine; no result depends on it.

    Attributes:
        root: a data set lies in ``root/NAME``,
        folders: unless its folder is given here by name,
        images: or its folder of pictures,
        image_vectors: or a file of their vectors.
        device: where to run.
        cache: folder of the cache; None keeps vectors in memory.
    """

    root: Path
    folders: Mapping[str, Path] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    image_vectors: Mapping[str, Path] = field(default_factory=dict)
    device: str | None = None
    cache: Path | None = None

    def images_of(self, name: str) -> Images | None:
        """Return where the pictures of a data set are, if not in its own folder."""
        if name in self.image_vectors:
            return read_image_vectors(self.image_vectors[name])
        return self.images.get(name)


@dataclass(frozen=True)
class Prepared:
    """Everything that a stream needs.

    Attributes:
        student: the base model.
        languages: of the plan, in its order.
        stages: by language.
        data: what results say of the data.
        skipped: what readers left out: (source, reason) -> language -> number.
    """

    student: Student
    languages: list[str]
    stages: Mapping[str, Stage]
    data: Data
    skipped: Mapping[tuple[str, str], Mapping[str, int]]


def prepare(plan: Plan, where: Where, datasets: Registry[Dataset], bar: Bar | None = None) -> Prepared:
    """Read all captions and encode what is new: pictures and English texts, each once, ever.

    Args:
        plan: the run.
        where: where its data lies.
        datasets: the named data sets.
        bar: makes a progress callback for a line of text.

    Raises:
        BabelclipError: a data set is missing or malformed, or the base model cannot be loaded.
    """
    sources: list[Source] = [plan.train, *plan.test]
    if plan.train.validation:
        sources.append(plan.train.model_copy(update={"split": plan.train.validation, "texts": None}))
    for name in (*where.folders, *where.images, *where.image_vectors):
        if name not in {source.dataset for source in sources}:
            raise SettingError(
                f"a place is given for {name!r}, which the plan does not use",
                fix=f"It uses {', '.join(sorted({source.dataset for source in sources}))}.",
            )
    places = {}
    for name in {source.dataset: None for source in sources}:
        dataset = datasets[name]
        places[name] = dataset.place(where.folders.get(name, where.root / name), where.images_of(name))
    languages = _languages(plan, {name: datasets[name].languages_in(places[name].folder) for name in places})
    corpora: dict[tuple[Source, str], Corpus] = {}
    for source in sources:
        for language in languages:
            corpus = datasets[source.dataset].load(places[source.dataset], language, source.split)
            corpus = corpus.first_captions() if source.captions == "first" else corpus
            if isinstance(source, Train) and source.texts is not None:
                corpus = corpus.sample(source.texts)
            corpora[source, language] = corpus
    words = None if plan.lexicon == "own" else plan.lexicon
    student = load(
        plan.base,
        lexicon=words,
        lexicon_width=plan.lexicon_width,
        device=where.device,
        cache=Cache(where.cache),
        frames=plan.frames,
    )
    ready = {
        (source, language): student.teacher.prepare(corpus, bar(f"looking at pictures, {language}") if bar else None)
        for (source, language), corpus in corpora.items()
    }
    stages = {language: _stage(plan, sources, ready, language) for language in languages}
    skipped: dict[tuple[str, str], dict[str, int]] = {}
    for (source, language), corpus in corpora.items():
        for reason, count in corpus.skipped.items():
            skipped.setdefault((source.name, reason), {})[language] = count
    data = _describe(sources, corpora, datasets)
    data.counts.update(_seen(list(stages.values())))
    return Prepared(student, languages, stages, data, skipped)


def _languages(plan: Plan, known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The plan's languages, or all that every data set has, English first."""
    if plan.languages:
        tags = [normalise_tag(tag) for tag in plan.languages]
        for tag in tags:
            for name, has in known.items():
                if tag not in has:
                    raise SettingError(f"{name} has no {tag!r}", fix=f"It has {', '.join(has)}.")
        return tags
    common = set.intersection(*(set(has) for has in known.values()))
    if not common:
        raise SettingError(f"no language is in all of {', '.join(known)}", fix="Choose other data sets.")
    return sorted(common, key=lambda tag: (tag != "en", tag))


def _stage(
    plan: Plan, sources: list[Source], ready: Mapping[tuple[Source, str], Examples], language: str
) -> Stage:  # fmt: skip
    galleries = [Gallery(source.name, ready[source, language], source.folds) for source in plan.test]
    validation = ready[sources[-1], language] if plan.train.validation else None
    return Stage(ready[plan.train, language], galleries, validation)


def _seen(stages: list[Stage]) -> dict[str, int]:
    """How many pictures of each gallery stand in some language's training texts too."""
    trained = set(_pictures(stage.train for stage in stages).values())
    galleries = zip(*(stage.galleries for stage in stages), strict=True)
    return {
        f"{same[0].name} {SEEN}": sum(one in trained for one in _pictures(one.examples for one in same).values())
        for same in galleries
    }


def _pictures(parts: Iterable[Examples]) -> dict[Path, bytes]:
    """Pictures and digests of their vectors: whatever it is called, a picture of the same content has the same."""
    found: dict[Path, bytes] = {}
    for part in parts:
        new = [place for place, file in enumerate(part.files) if file not in found]
        for places in torch.tensor(new, dtype=torch.int64).split(4096):
            for place, row in zip(places.tolist(), part.images[places].numpy(), strict=True):
                found[part.files[place]] = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
    return found


def _describe(sources: list[Source], corpora: Mapping[tuple[Source, str], Corpus], datasets: Registry[Dataset]) -> Data:
    """Name, fingerprint and counts of the data."""
    digest = hashlib.sha256()
    counts: dict[str, int] = {}
    for (source, language), corpus in corpora.items():
        version = datasets[source.dataset].version
        vectors = "" if corpus.vectors is None else corpus.vectors.fingerprint
        digest.update(repr((source.name, version, language, corpus.fingerprint, vectors)).encode())
        counts[f"{source.name} {language} texts"] = len(corpus.captions)
        counts[f"{source.name} {language} pictures"] = len({caption.image for caption in corpus.captions})
    names = dict.fromkeys(source.name for source in sources)
    return Data(name=" + ".join(names), fingerprint=digest.hexdigest(), counts=counts)
