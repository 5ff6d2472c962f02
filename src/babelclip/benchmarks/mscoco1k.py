"""COCO in English, Japanese (STAIR Captions) and Chinese (COCO-CN), all written by people independently of each other.

English and Japanese follow Karpathy's split, in the order of his file, so that folds of 1,000 pictures are everybody's.
COCO-CN has a split of its own: some of its test pictures may be English or Japanese training pictures.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic.dataclasses import dataclass as checked

from babelclip.benchmarks.base import Dataset, Place, pair_english
from babelclip.benchmarks.karpathy import Image, check_form, in_split, read_karpathy
from babelclip.benchmarks.lines import read_names
from babelclip.data import Corpus
from babelclip.data.gather import clean
from babelclip.data.tables import read_json, read_lines
from babelclip.errors import DataError
from babelclip.files import file_state

KARPATHY, COCO_CN = "dataset_coco.json", "coco-cn-version1805v1.1"
STAIR = "stair_captions_v1.2_{}.json"
WRITTEN = "imageid.human-written-caption.txt"
FIX = "Restore the file from its source."


@checked(slots=True, frozen=True)
class _Annotation:
    image_id: int
    caption: str


@checked(slots=True, frozen=True)
class _Annotations:
    annotations: list[_Annotation]


Captions = dict[int, list[tuple[int, str]]]  # picture -> number of the annotation, caption


@lru_cache(maxsize=2)
def _parse_stair(file: Path, _state: tuple[int, int] | None) -> Captions:
    found: Captions = {}
    for number, one in enumerate(check_form(_Annotations, read_json(file), file).annotations):
        found.setdefault(one.image_id, []).append((number, one.caption))
    return found


def _english_of(image: Image) -> list[str]:
    return [sentence.raw for sentence in image.sentences if clean(sentence.raw)]


def _read_english(place: Place, images: list[Image], split: str) -> Corpus:
    gathered = place.gather_released("en", place.folder / KARPATHY, numbered="image")
    for number, image in enumerate(images):
        if in_split(image, split):
            if not image.sentences:
                gathered.skip("pictures without a caption")
            for sentence in image.sentences:
                gathered.add(image.name, sentence.raw, sentence.raw, line=number, columns=("filename", "raw", "raw"))
    return gathered.corpus(empty=f"The file must hold pictures with the split {split!r}.")


def _read_japanese(place: Place, images: list[Image], split: str) -> Corpus:
    gathered = place.gather_released("ja", place.folder / STAIR.format("val"), numbered="annotation")
    loaded: dict[str, tuple[Path, Captions]] = {}
    for number, image in enumerate(images):
        if not in_split(image, split):
            continue
        part = image.filepath.removesuffix("2014")
        if image.cocoid is None or part not in ("train", "val"):
            raise DataError(
                f"image {number}: 'cocoid' is {image.cocoid}, 'filepath' {image.filepath!r}",
                file=place.folder / KARPATHY, fix="Expected a number, and train2014 or val2014.",
            )  # fmt: skip
        if part not in loaded:
            file = place.folder / STAIR.format(part)
            loaded[part] = file, _parse_stair(file, file_state(file))
        file, captions = loaded[part]
        mine, english = captions.get(image.cocoid, []), _english_of(image)
        if not mine:
            gathered.skip("pictures without a caption")
        for k, (annotation, text) in enumerate(mine):
            teacher = pair_english(english, k) if english else ""
            columns = ("filename", "raw", "caption")
            gathered.add(image.name, teacher, text, line=annotation, columns=columns, file=file)
    known = {image.cocoid for image in images}
    for _, captions in loaded.values():
        strangers = sum(len(found) for image, found in captions.items() if image not in known)
        gathered.skip(f"captions of pictures that are not in {KARPATHY}", strangers)
    return gathered.corpus(empty=f"{KARPATHY} must hold pictures with the split {split!r}.")


def _read_chinese(place: Place, images: list[Image], split: str) -> Corpus:
    names = read_names(place.folder / COCO_CN / f"coco-cn_{split}.txt")
    file = place.folder / COCO_CN / WRITTEN
    captions: dict[str, list[tuple[int, str]]] = {}
    seen: set[str] = set()
    for line, row in read_lines(file):
        key, *rest = row.split(maxsplit=1) or [""]
        picture, mark, _ = key.partition("#")
        if not mark:
            raise DataError(f"{row!r} does not begin with PICTURE#NUMBER", file=file, line=line, fix=FIX)
        if key in seen:
            raise DataError(f"{key!r} stands there twice", file=file, line=line, fix=FIX)
        seen.add(key)
        captions.setdefault(picture, []).append((line, rest[0] if rest else ""))
    by_stem = {Path(image.filename).stem: image for image in images}
    gathered = place.gather_released("zh", file)
    for name in names:
        mine, image = captions.get(name, []), by_stem.get(name)
        if not mine:
            gathered.skip("pictures without a caption")
        elif image is None:
            gathered.skip(f"captions of pictures that are not in {KARPATHY}", len(mine))
        else:
            english = _english_of(image)
            for k, (line, text) in enumerate(mine):
                teacher = pair_english(english, k) if english else ""
                gathered.add(image.name, teacher, text, line=line, columns=("picture", "raw", "caption"))
    return gathered.corpus(empty=f"The file must hold captions of the pictures of coco-cn_{split}.txt.")


_READERS = {"en": _read_english, "ja": _read_japanese, "zh": _read_chinese}


def _read(place: Place, language: str, split: str) -> Corpus:
    return _READERS[language](place, read_karpathy(place.folder / KARPATHY, restval=True), split)


MSCOCO_ML = Dataset(
    name="mscoco-ml",
    title="COCO in English, Japanese and Chinese",
    version="Karpathy split; STAIR Captions 1.2; COCO-CN 1805 v1.1, written by people",
    languages=("en", "ja", "zh"),
    splits=("train", "val", "test"),
    protocol="group",
    licence="en, ja: CC BY 4.0; zh: none stated, free for research; photographs: Flickr terms of use",
    citation="Karpathy, Fei-Fei, CVPR 2015; ja: Yoshikawa et al., ACL 2017; zh: Li et al., IEEE TMM 2019",
    obtain=(
        "Unpack caption_datasets.zip (https://cs.stanford.edu/people/karpathy/deepimagesent), "
        "stair_captions_v1.2.tar.gz (https://github.com/STAIR-Lab-CIT/STAIR-captions), COCO-CN "
        "(https://github.com/li-xirong/coco-cn) and, into images/, COCO 2014 (https://cocodataset.org)."
    ),
    layout={
        KARPATHY: "images: filepath, filename, cocoid, split (restval counts as train), sentences of raw",
        STAIR.format("train"): "ja: annotations: image_id, caption; the same for val",
        f"{COCO_CN}/coco-cn_SPLIT.txt": "zh: pictures of train, val or test, one a line, such as COCO_val2014_NUMBER",
        f"{COCO_CN}/{WRITTEN}": "zh: PICTURE#NUMBER, tab, caption",
        "images/val2014/COCO_val2014_NUMBER.jpg": "the photographs; also train2014 (or --image-vectors with such ids)",
    },
    read=_read,
    counts={
        ("en", "train"): (113287, 566747), ("en", "val"): (5000, 25010), ("en", "test"): (5000, 25010),
        ("ja", "train"): (113287, 566435), ("ja", "val"): (5000, 25000), ("ja", "test"): (5000, 25000),
        ("zh", "train"): (18341, 20065), ("zh", "val"): (1000, 1100), ("zh", "test"): (1000, 1053),
    },
)  # fmt: skip
