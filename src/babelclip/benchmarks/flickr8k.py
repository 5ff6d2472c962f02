"""Flickr8k in several languages: natural photographs with human captions, one Karpathy-like JSON file a language."""

from __future__ import annotations

from pathlib import Path

from babelclip.benchmarks.base import Dataset, Place, pair_english
from babelclip.benchmarks.karpathy import read_karpathy
from babelclip.data import Corpus


def _read(place: Place, language: str, split: str) -> Corpus:
    english = {image.filename: image for image in read_karpathy(_file(place, "en"), language="en")}
    file = _file(place, language)
    gathered = place.gather(language, file, numbered="image")
    images = read_karpathy(file, language=language)
    for number, image in enumerate(images):
        if image.split != split:
            continue
        if not image.sentences:
            gathered.skip("pictures without a caption")
            continue
        source = english.get(image.filename)
        if source is None or source.split != split or not source.sentences:
            gathered.skip("pictures without an English caption in the same split")
            continue
        taught = [sentence.raw for sentence in source.sentences]
        for place_in_image, sentence in enumerate(image.sentences):
            teacher = pair_english(taught, place_in_image)
            gathered.add(image.filename, teacher, sentence.raw, line=number, columns=("filename", "en", "raw"))
    mine = {image.filename for image in images}
    gathered.skip(
        "pictures of the split that are not in this language's file",
        sum(image.split == split for name, image in english.items() if name not in mine),
    )
    return gathered.corpus(empty=f"The file must hold pictures with the split {split!r}.")


def _file(place: Place, language: str) -> Path:
    return place.folder / ("machine" if language in ("es", "hi") else "human") / f"{language}.json"


FULL, PART = {"train": 6000, "val": 1000, "test": 1000}, {"train": 5528, "val": 934, "test": 929}
_CAPTIONS = {
    "en": (29991, 5000, 4999), "zh": (28696, 4820, 4796), "ar": (29948, 4997, 4991), "de": (33083, 5591, 5559),
    "fr": (5528, 934, 929), "hi": (6000, 999, 1000), "es": (5528, 934, 929),
}  # fmt: skip

FLICKR8K = Dataset(
    name="flickr8k-multi",
    title="Flickr8k in several languages",
    version="official split, human captions",
    languages=("ar", "de", "en", "es", "fr", "hi", "zh"),
    splits=("train", "val", "test"),
    protocol="caption",
    licence="photographs: non-commercial research and education; captions: see each source",
    citation="Hodosh, Young, Hockenmaier, JAIR 2013; zh: Li et al., ICMR 2016; de fr: Elliott et al., 2016",
    obtain="Put one Karpathy-like JSON file a language into human/ (ar de en fr zh) and machine/ (es hi).",
    layout={
        "human/LANGUAGE.json": "images: filename, split, sentences of raw; captions written by people",
        "machine/LANGUAGE.json": "the same, machine-translated (es, hi): never evidence",
        "images/FILENAME": "the photographs (or --image-vectors with file names as ids)",
    },
    read=_read,
    counts={
        (language, split): ((PART if language in ("de", "fr", "es") else FULL)[split], captions)
        for language, numbers in _CAPTIONS.items()
        for split, captions in zip(("train", "val", "test"), numbers, strict=True)
    }
    | {("hi", "val"): (999, 999)},
)
