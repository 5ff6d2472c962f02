"""Tiny copies of the released data sets, in their real formats: path -> content; and plain counts of their captions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from babelclip.benchmarks import DATASETS, Place
from babelclip.data import ImageVectors, read_image_vectors

SPLITS = ("train", "restval", "val", "val", "test", "test")
WORD = {"ar": "قطة", "de": "Katze", "en": "cat", "fr": "chat", "ja": "猫", "zh": "猫", "es": "gato", "cs": "kočka"}
XM = DATASETS["crossmodal3600"].languages
COCO = [
    {
        "filepath": "train2014" if split == "train" else "val2014",
        "filename": f"COCO_{'train' if split == 'train' else 'val'}2014_{i:012}.jpg",
        "cocoid": i,
        "imgid": i,
        "split": split,
        "sentences": [{"raw": f"a cat, number {i}.{k}", "tokens": ["a"]} for k in range(2)],
    }
    for i, split in enumerate(SPLITS, 101)
]
PATHS = [f"{image['filepath']}/{image['filename']}" for image in COCO]


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def lines(texts: list[str], *, packed: bool = False) -> bytes:
    content = "".join(f"{text}\n" for text in texts).encode()
    return gzip.compress(content, mtime=0) if packed else content


def text(language: str, name: object) -> str:
    return f"{WORD.get(language, language)} {name}"


def crossmodal3600() -> dict[str, bytes]:
    rows = [
        {"image/key": f"k{i}", "image/locale": "sw"}
        | {tag: {"caption": [text(tag, f"{i}.{k}") for k in range(1 + i % 2)]} for tag in XM}
        for i in range(3)
    ]
    return {"captions.jsonl": lines([json.dumps(row, ensure_ascii=False) for row in rows])}


def mscoco36() -> dict[str, bytes]:
    def entries(split: str, language: str) -> list[dict[str, object]]:
        word = WORD[language]
        return [
            {"image": path, "image_id": 0, "caption": [one["raw"].replace("cat", word) for one in image["sentences"]]}
            for path, image in zip(PATHS, COCO, strict=True)
            if image["split"] == split
        ]  # fmt: skip

    first = [*entries("restval", "en"), *entries("train", "en")]
    train = [one | {"caption": caption} for one in first for caption in one["caption"]]
    files = {f"annotations/coco/en/{split}.json": dump(entries(split, "en")) for split in ("val", "test")}
    files["annotations/coco/en/train.json"] = dump(train)
    for language in ("ar", "de"):
        for split in ("val", "test"):
            files[f"annotations/coco/translated/{language}/{split}.json"] = dump(entries(split, language))
        pairs = [f"{one['caption']}\t{one['caption'].replace('cat', WORD[language])}" for one in train]
        files[f"corpus/multilingual_coco/36langs/coco_en-{language}.tsv.gz"] = lines(pairs, packed=True)
    return files


def multi30k() -> dict[str, bytes]:
    files = {}
    for split, first, second in (("train", "train", "train"), ("test", "test_2016_flickr", "test_2016")):
        names = [f"{split}{i}.jpg" for i in range(3)]
        files[f"data/task1/image_splits/{first}.txt"] = files[f"data/task2/image_splits/{second}_images.txt"] = lines(
            names
        )
        for language in ("en", "fr", "cs"):
            files[f"data/task1/raw/{first}.{language}.gz"] = lines([text(language, n) for n in names], packed=True)
        for language in ("en", "de"):
            for k in range(1, 6):
                files[f"data/task2/raw/{second}.{k}.{language}"] = lines([text(language, f"{n} {k}") for n in names])
    return files


def multi30k_task1() -> dict[str, bytes]:
    files = {}
    for split, stem in (("train", "train"), ("test", "test_2016_flickr")):
        names = [f"{split}{i}.jpg" for i in range(3)]
        files[f"data/task1/image_splits/{stem}.txt"] = lines(names)
        for language in ("en", "de", "fr"):
            files[f"data/task1/raw/{stem}.{language}"] = lines([text(language, n) for n in names])
    return files


def mscoco_ml() -> dict[str, bytes]:
    def stair(folder: str) -> bytes:
        found = [i["cocoid"] for i in COCO if i["filepath"] == folder]
        rows = [{"image_id": i, "id": 9, "caption": text("ja", f"{i}.{k}")} for k in (0, 1) for i in found]
        return dump({"images": [], "annotations": rows})

    stems = {image["cocoid"]: image["filename"].removesuffix(".jpg") for image in COCO}
    root = "coco-cn-version1805v1.1"
    files = {"dataset_coco.json": dump({"dataset": "coco", "images": COCO})}
    files |= {f"stair_captions_v1.2_{part}.json": stair(f"{part}2014") for part in ("train", "val")}
    files |= {f"{root}/coco-cn_{split}.txt": lines([stems[i] for i in numbers])
              for split, numbers in (("train", (105, 101)), ("val", (102,)), ("test", (104, 103)))}  # fmt: skip
    rows = [f"{stem}#{k}\t{text('zh', f'{i}.{k}')}" for i, stem in stems.items() for k in range(1 + (i == 104))]
    return files | {f"{root}/imageid.human-written-caption.txt": lines(rows)}


def xtd10() -> dict[str, bytes]:
    names = [image["filename"] for image in COCO]
    files = {"XTD10/test_image_names.txt": lines(names)}
    for language, file in (("en", "MIC/test_1kcaptions_en"), ("de", "MIC/test_1kcaptions_de"),
                           ("ja", "STAIR/test_1kcaptions_jp"), ("es", "XTD10/test_1kcaptions_es")):  # fmt: skip
        files[f"{file}.txt"] = lines([text(language, name) for name in names])
    return files


def flickr8k_multi() -> dict[str, bytes]:
    def content(language: str) -> bytes:
        images = [
            {"filename": f"{i}.jpg", "split": split, "sentences": [{"raw": text(language, f"{i}.{k}")} for k in (0, 1)]}
            for i, split in enumerate(("train", "val", "test", "test"))
        ]
        return dump({"language": language, "images": images})

    return {
        f"{folder}/{tag}.json": content(tag) for folder, tag in (("human", "en"), ("human", "ar"), ("machine", "es"))
    }


def pictograms() -> dict[str, bytes]:
    concepts = [
        {
            "id": f"c{i}",
            "split": split,
            "in_all_36": True,
            "images": {style: f"images/{style}/c{i}.webp" for style in ("fluent3d", "noto")},
            "names": {"en": f"cat {i}", "de": f"Katze {i}"},
            "keywords": {"en": ["pet"], "de": ["Tier", str(i)]},
        }
        for i, split in enumerate(("train", "test", "test"))
    ]
    return {"concepts.json": dump({"concepts": concepts})}


def msrvtt() -> dict[str, bytes]:
    splits = ("train", "train", "validate", "test", "test")
    data = {
        "info": {"year": "2016"},
        "videos": [
            {"id": i, "video_id": f"video{i}", "category": 9, "url": "https://", "start time": 1.5, "end time": 9.0,
             "split": split}
            for i, split in enumerate(splits)
        ],
        "sentences": [
            {"sen_id": 5 * i + k, "video_id": f"video{i}", "caption": text("en", f"{i}.{k}")}
            for k in range(2) for i in range(len(splits))
        ],
    }  # fmt: skip
    files = {"MSRVTT_data.json": dump(data)}
    for tag in ("de", "zh"):
        files[f"captions/{tag}.json"] = dump(
            {f"video{i}": [text(tag, f"{i}.{k}") for k in range(2)] for i in range(len(splits))}
        )
    return files


def msrvtt_1ka() -> dict[str, bytes]:
    test = [f"ret{i},msr{i},video{i},Cat  {i}.1" for i in (4, 2)]
    return msrvtt() | {
        "MSRVTT_train.9k.csv": lines(["video_id", "video0", "video1", "video3"]),
        "MSRVTT_JSFUSION_test.csv": lines(["key,vid_key,video_id,sentence", *test]),
    }


def vatex() -> dict[str, bytes]:
    def clips(split: str, *, chinese: bool = True) -> bytes:
        names = [f"{split}_-{i}_000122_000132" for i in range(2)]
        return dump([
            {"videoID": name, "enCap": [text("en", f"{name} {k}") for k in range(3)]}
            | ({"chCap": [text("zh", f"{name} {k}") for k in range(3)]} if chinese else {})
            for name in names
        ])  # fmt: skip

    return {
        "vatex_training_v1.0.json": clips("train"),
        "vatex_validation_v1.0.json": clips("val"),
        "vatex_public_test_english_v1.1.json": clips("test", chinese=False),
    }


def msvd() -> dict[str, bytes]:
    names = {split: [f"{split}-_{i}_5_15" for i in range(2)] for split in ("train", "val", "test")}
    rows = [f"{name} {text('en', f'{name} {k}')}" for k in range(2) for each in names.values() for name in each]
    files = {f"{split}_list.txt": lines(each) for split, each in names.items()}
    return files | {"AllVideoDescriptions.txt": lines(["# MSVD: video id, description", "", *rows])}


RELEASES = {
    "crossmodal3600": crossmodal3600, "mscoco36": mscoco36, "multi30k": multi30k,
    "multi30k-task1": multi30k_task1, "mscoco-ml": mscoco_ml,
    "xtd10": xtd10, "flickr8k-multi": flickr8k_multi, "pictograms": pictograms,
    "msrvtt": msrvtt, "msrvtt-1ka": msrvtt_1ka, "vatex": vatex, "msvd": msvd,
}  # fmt: skip
PICTURES = {
    "crossmodal3600": [f"k{i}.jpg" for i in range(3)], "mscoco36": PATHS, "mscoco-ml": PATHS,
    "multi30k": [f"{split}{i}.jpg" for split in ("train", "test") for i in range(3)],
    "multi30k-task1": [f"{split}{i}.jpg" for split in ("train", "test") for i in range(3)],
    "xtd10": [image["filename"] for image in COCO], "flickr8k-multi": [f"{i}.jpg" for i in range(4)],
    "pictograms": [f"images/{s}/c{i}.webp" for s in ("fluent3d", "noto") for i in range(3)],
    "msrvtt": [f"video{i}" for i in range(5)], "msrvtt-1ka": [f"video{i}" for i in range(5)],
    "vatex": [f"{split}_-{i}_000122_000132" for split in ("train", "val", "test") for i in range(2)],
    "msvd": [f"{split}-_{i}_5_15" for split in ("train", "val", "test") for i in range(2)],
}  # fmt: skip
READ = {
    "crossmodal3600": [("en", "test"), ("ar", "test")],
    "mscoco36": [(tag, split) for tag in ("en", "ar", "de") for split in ("train", "val", "test")],
    "multi30k": [(tag, split) for tag in ("cs", "de", "en", "fr") for split in ("train", "test")],
    "multi30k-task1": [(tag, split) for tag in ("de", "en", "fr") for split in ("train", "test")],
    "mscoco-ml": [(tag, split) for tag in ("en", "ja", "zh") for split in ("train", "val", "test")],
    "xtd10": [(tag, "test") for tag in ("de", "en", "es", "ja")],
    "flickr8k-multi": [(tag, split) for tag in ("ar", "en", "es") for split in ("train", "test")],
    "pictograms": [("de", split) for split in ("train", "test", "test-noto")],
    "msrvtt": [(tag, split) for tag in ("en", "de", "zh") for split in ("train", "val", "test")],
    "msrvtt-1ka": [(tag, split) for tag in ("en", "de", "zh") for split in ("train", "test")],
    "vatex": [("en", "train"), ("en", "val"), ("en", "test"), ("zh", "train"), ("zh", "val")],
    "msvd": [("en", split) for split in ("train", "val", "test")],
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def vectors(folder: Path, names: list[str]) -> ImageVectors:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.ones((len(names), 4), dtype=np.float32))
    (folder / "images.ids.txt").write_text("\n".join(names), encoding="utf-8")
    return read_image_vectors(folder / "images.npy")


def release(name: str, folder: Path) -> Place:
    """Write a data set and return where it lies, with vectors as pictures."""
    write(folder, RELEASES[name]())
    return DATASETS[name].place(folder, vectors(folder / "vectors", PICTURES[name]))


def count_plainly(name: str, folder: Path, language: str, split: str) -> int:  # noqa: PLR0911
    """Count the captions that the files hold, the slow obvious way."""

    def load(file: str) -> object:
        return json.loads((folder / file).read_bytes().decode("utf-8-sig"))

    def rows(file: str) -> list[str]:
        return (folder / file).read_bytes().decode("utf-8-sig").rstrip("\r\n").split("\n")

    if name == "crossmodal3600":
        kept = [row for row in rows("captions.jsonl") if row.strip()]
        return sum(len(json.loads(row)[language]["caption"]) for row in kept)
    if name == "mscoco36":
        found = load(f"annotations/coco/en/{split}.json")
        return len(found) if split == "train" else sum(len(one["caption"]) for one in found)
    if name == "multi30k-task1" or (name == "multi30k" and language in ("cs", "fr")):
        return len(rows(f"data/task1/image_splits/{'train' if split == 'train' else 'test_2016_flickr'}.txt"))
    if name == "multi30k":
        return 5 * len(rows(f"data/task2/image_splits/{'train' if split == 'train' else 'test_2016'}_images.txt"))
    if name == "xtd10":
        return len(rows("XTD10/test_image_names.txt"))
    if name == "pictograms":
        mine = [one for one in load("concepts.json")["concepts"] if one["split"] == split.removesuffix("-noto")]
        named = [one for one in mine if {"en", language} <= set(one["names"])]
        words = [one for one in named if one["keywords"].get("en") and one["keywords"].get(language)]
        return len(named) + len(words) * (split == "train")
    if name == "flickr8k-multi":
        english = {one["filename"]: one for one in load("human/en.json")["images"] if one["sentences"]}
        found = load(f"{'machine' if language == 'es' else 'human'}/{language}.json")["images"]
        mine = [
            one for one in found if one["split"] == split and english.get(one["filename"], {}).get("split") == split
        ]
        return sum(len(one["sentences"]) for one in mine)
    if name in ("msrvtt", "msrvtt-1ka", "vatex", "msvd"):
        return count_videos(name, load, rows, language, split)
    images = load("dataset_coco.json")["images"]
    mine = [one for one in images if one["split"] == split or (split, one["split"]) == ("train", "restval")]
    if language == "en":
        return sum(len(one["sentences"]) for one in mine)
    if language == "zh":
        stems = [row.strip() for row in rows(f"coco-cn-version1805v1.1/coco-cn_{split}.txt")]
        written = rows("coco-cn-version1805v1.1/imageid.human-written-caption.txt")
        return sum(row.split()[0].split("#")[0] in stems for row in written)
    known = {one.get("cocoid") for one in images}
    total = 0
    for part in {one["filepath"].removesuffix("2014") for one in mine}:
        wanted = {one["cocoid"] for one in mine if one["filepath"] == f"{part}2014"}
        found = [one["image_id"] for one in load(f"stair_captions_v1.2_{part}.json")["annotations"]]
        total += sum(image in wanted or image not in known for image in found)
    return total


def count_videos(name, load, rows, language: str, split: str) -> int:
    """The same for data sets of videos."""
    if name == "vatex":
        file = {"train": "training_v1.0", "val": "validation_v1.0", "test": "public_test_english_v1.1"}[split]
        return sum(len(one["enCap" if language == "en" else "chCap"]) for one in load(f"vatex_{file}.json"))
    if name == "msvd":
        mine = [row.strip() for row in rows(f"{split}_list.txt")]
        written = [row.strip().split(" ")[0] for row in rows("AllVideoDescriptions.txt") if not row.startswith("#")]
        return sum(video in mine for video in written)
    data = load("MSRVTT_data.json")
    if name == "msrvtt":
        mine = [one["video_id"] for one in data["videos"] if one["split"] == {"val": "validate"}.get(split, split)]
    elif split == "train":
        mine = [row.strip().strip('"') for row in rows("MSRVTT_train.9k.csv") if row][1:]
    else:
        return len([row for row in rows("MSRVTT_JSFUSION_test.csv") if row.strip("\r")]) - 1
    return sum(one["video_id"] in mine for one in data["sentences"])
