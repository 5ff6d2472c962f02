"""XTD10: 1,000 photographs of COCO with one caption each in English and ten languages, all translations; a test set.

Its photographs are from COCO's ``train2014``, so most are training pictures of Karpathy's split: a model that was
trained on MSCOCO has seen them.
"""

from __future__ import annotations

from babelclip.benchmarks.base import Dataset, Place
from babelclip.benchmarks.lines import read_aligned, read_names
from babelclip.data import Corpus

NAMES = "XTD10/test_image_names.txt"
_FOLDERS = {"de": "MIC", "en": "MIC", "fr": "MIC", "ja": "STAIR"}
_SPELLED = {"ja": "jp"}
LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "ko", "pl", "ru", "tr", "zh")


def _read(place: Place, language: str, split: str) -> Corpus:
    names = place.folder / NAMES
    pictures = read_names(names)
    file, english = (
        place.folder / _FOLDERS.get(tag, "XTD10") / f"{split}_1kcaptions_{_SPELLED.get(tag, tag)}.txt"
        for tag in (language, "en")
    )
    texts, taught = (read_aligned(one, len(pictures), names) for one in (file, english))
    gathered = place.gather_released(language, file)
    for line, (picture, teacher, text) in enumerate(zip(pictures, taught, texts, strict=True), 1):
        gathered.add(_locate(place, picture), teacher, text, line=line, columns=(names.name, "en", language))
    return gathered.corpus(empty="Restore the file from its source.")


def _locate(place: Place, picture: str) -> str:
    """Return a picture's path: in COCO's own folder, such as train2014, where it is not in the folder itself."""
    folder = picture.removeprefix("COCO_").partition("_")[0]
    below = f"{folder}/{picture}"
    return below if not place.has(picture) and place.has(below) else picture


XTD10 = Dataset(
    name="xtd10",
    title="XTD10",
    version="repository of 2020 to 2022",
    languages=LANGUAGES,
    splits=("test",),
    protocol="caption",
    licence="Adobe Research License: non-commercial research; photographs: Flickr terms of use",
    citation="Aggarwal, Kale, 2020 (arXiv 2012.05107); de fr: Rajendran et al., 2016; ja: Yoshikawa et al., 2017",
    obtain=(
        "Clone https://github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10 and put the photographs of COCO 2014 "
        "(https://cocodataset.org) into images/."
    ),
    layout={
        NAMES: "file names of the 1,000 photographs, one a line",
        "XTD10/test_1kcaptions_LANGUAGE.txt": "es it ko pl ru tr zh: a caption for each of these lines",
        "MIC/test_1kcaptions_LANGUAGE.txt": "de en fr: the same",
        "STAIR/test_1kcaptions_jp.txt": "ja: the same",
        "images/FILENAME": "the photographs, also as images/train2014/FILENAME (or --image-vectors with such ids)",
    },
    read=_read,
    counts={(language, "test"): (1000, 1000) for language in LANGUAGES},
)
