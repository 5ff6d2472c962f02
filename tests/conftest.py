"""A tiny CLIP with random weights and the built-in tokenizer; caption files with real little pictures."""

from __future__ import annotations

import errno
import io
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: a test that reaches for a hub fails at once
os.environ["BABELCLIP_CACHE"] = "off"
for threads in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):  # before torch; more only wait for each other here
    os.environ.setdefault(threads, "1")

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
)

import babelclip
from babelclip.acquirers import Learnt
from babelclip.acquirers.prompts import Prompts
from babelclip.benchmarks.prepare import Where
from babelclip.data import Corpus, Examples, Teacher, read_captions
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DualEncoder, load_encoder
from babelclip.encoders.names import ASSETS
from babelclip.lexicon import read_multilingual
from babelclip.methods import Stack
from babelclip.search.open import open_store
from babelclip.search.store import VectorStore
from babelclip.training.tune import TuneSettings, tune_english
from browsing import browser, film, library, visit  # noqa: F401
from indexing import Counting, write_pictures
from postgres_server import binaries, server
from stores import about
from towers import write_deep

SHARED = Path(__file__).parents[2] / "shared"
COLOURS = {
    "red": ("rot", "красный"), "green": ("grün", "зелёный"), "blue": ("blau", "синий"), "white": ("weiß", "белый"),
    "black": ("schwarz", "чёрный"), "yellow": ("gelb", "жёлтый"), "brown": ("braun", "коричневый"),
    "pink": ("rosa", "розовый"),
}  # fmt: skip
THINGS = {"square": ("quadrat", "квадрат"), "field": ("feld", "поле"), "wall": ("wand", "стена")}


@pytest.fixture(autouse=True, scope="session")
def one_core() -> Iterator[None]:
    """Benchmark runs in this process take one thread too, and not all cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        yield


@pytest.fixture
def forbid() -> Callable[[Path], AbstractContextManager[None]]:
    """Takes away the right to read a file, also from root, whom the system never refuses it."""

    @contextmanager
    def forbidden(file: Path) -> Iterator[None]:
        real = io.open

        def refuse(asked, *arguments, **options):
            if str(asked) == str(file):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
            return real(asked, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(io, "open", refuse)
            yield

    return forbidden


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """An ordinary CLIPModel folder: width 32, 2 layers, 16 px."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "pictoclip")
    shared = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = {**shared, "vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}  # fmt: skip
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text, vision_config={**shared, "image_size": 16, "patch_size": 8}, projection_dim=24
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder) -> DualEncoder:
    return load_encoder(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def deep_folder(tiny_folder, tmp_path_factory) -> Path:
    """The same with more layers, for modules that sit in some of them."""
    return write_deep(tiny_folder, tmp_path_factory.mktemp("deep") / "deep")


@pytest.fixture(scope="session")
def deep(deep_folder) -> DualEncoder:
    return load_encoder(deep_folder, device="cpu")


@pytest.fixture(scope="session")
def captions(tmp_path_factory) -> Path:
    """24 pictures with captions in German and Russian: ``de.tsv`` and ``ru.tsv``."""
    folder = tmp_path_factory.mktemp("captions")
    rows = {"de": ["image\ten\tde"], "ru": ["image\ten\tru"]}
    for i, (colour, (de, ru)) in enumerate(COLOURS.items()):
        for j, (thing, (thing_de, thing_ru)) in enumerate(THINGS.items()):
            name = f"{i}-{j}.png"
            Image.new("RGB", (20, 20), colour).save(folder / name)
            rows["de"].append(f"{name}\ta {colour} {thing}\tein {thing_de} in {de}")
            rows["ru"].append(f"{name}\ta {colour} {thing}\t{ru} {thing_ru}")
    for language, lines in rows.items():
        (folder / f"{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def folder(captions, tmp_path_factory) -> Path:
    """The same captions, for training and for testing, as a data set of the kind ``folder``."""
    place = tmp_path_factory.mktemp("data") / "folder"
    place.mkdir()
    for picture in captions.glob("*.png"):
        shutil.copy(picture, place)
    for tag in ("de", "ru"):
        for split in ("train", "test"):
            shutil.copy(captions / f"{tag}.tsv", place / f"{tag}.{split}.tsv")
    return place


@pytest.fixture(scope="session")
def corpora(captions) -> dict[str, Corpus]:
    return {language: read_captions(captions / f"{language}.tsv", language) for language in ("de", "ru")}


@pytest.fixture(scope="session")
def examples(tiny, corpora) -> dict[str, Examples]:
    teacher = Teacher(tiny)
    return {language: teacher.prepare(corpus) for language, corpus in corpora.items()}


@pytest.fixture(scope="session")
def deep_examples(deep, corpora) -> dict[str, Examples]:
    teacher = Teacher(deep)
    return {language: teacher.prepare(corpus) for language, corpus in corpora.items()}


@pytest.fixture(scope="session")
def tower_for(tiny, examples, deep, deep_examples) -> Callable[[Stack], tuple[DualEncoder, dict[str, Examples]]]:
    """A base model for some methods, and its examples: for prompts the deep one, which has all layers they belong in.

    Russian works against German: behind each of its texts stands the German one, and it is drawn to where that is not.
    """

    def lend(some: dict[str, Examples]) -> dict[str, Examples]:
        de, ru = some["de"], some["ru"]
        texts = list(map("{} {}".format, ru.texts, de.texts))
        return {"de": de, "ru": replace(ru, texts=texts, teachers=-ru.teachers[:])}

    ordinary, higher = (tiny, lend(examples)), (deep, lend(deep_examples))

    def choose(stack: Stack) -> tuple[DualEncoder, dict[str, Examples]]:
        kinds = stack.acquirers(deep.text_tower.shape).values()
        return higher if any(isinstance(kind, Prompts) for kind in kinds) else ordinary

    return choose


@pytest.fixture(scope="session")
def language_model(captions, tmp_path_factory) -> Path:
    """A multilingual language model, as small as can be: WordPiece and word embeddings of width 20."""
    folder = tmp_path_factory.mktemp("models") / "multilingual"
    texts = [text for tag in ("de", "ru") for text in (captions / f"{tag}.tsv").read_text().split("\n")]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    learner = trainers.WordPieceTrainer(vocab_size=150, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(texts, learner)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), specials, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size() + 5, hidden_size=20, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def foreign(tiny, language_model) -> babelclip.Student:
    """The tiny model beside the words of the language model."""
    words = read_multilingual(language_model, base_lexicon(tiny))
    return babelclip.Student(tiny, Learnt.start(words, tiny))


@pytest.fixture
def quick() -> babelclip.TaskSettings:
    return babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=2, learning_rate=1e-3)


@pytest.fixture(scope="session")
def openmoji_folder(tmp_path_factory) -> Path:
    """The built-in data set as files, in some languages; drawn once for all workers."""
    pytest.importorskip("resvg_py", reason="the built-in data needs the extra [demo]")
    from babelclip.benchmarks import openmoji

    place = tmp_path_factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "openmoji"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            openmoji.write_folder(folder.with_suffix(".half"), ["en", "ko", "ar", "ja", "es"])
            folder.with_suffix(".half").rename(folder)
    return folder


@pytest.fixture(scope="session")
def pictoclip() -> babelclip.Student:
    return babelclip.load("pictoclip", device="cpu")


@pytest.fixture(scope="session")
def pictoclip_scores(pictoclip, openmoji_folder) -> dict[str, float]:
    """English scores of the untouched built-in model on the held-out concepts."""
    test = pictoclip.examples("en", openmoji_folder / "en.test.tsv")
    size = sum(file.stat().st_size for file in (ASSETS / "pictoclip").iterdir())
    return pictoclip.evaluate(test) | {"gallery": len(test.files), "bytes": size}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL server with pgvector that lives as long as the tests of this process."""
    pytest.importorskip("psycopg", reason="an index on a server needs the extra [postgres]")
    pytest.importorskip("pgvector", reason="an index on a server needs the extra [postgres]")
    programs = binaries()
    if isinstance(programs, str):
        pytest.skip(programs)
    with server(programs) as url:
        yield url


@pytest.fixture(params=["folder", "postgres"])
def place(request, tmp_path) -> str:
    """Where a store may be begun: a folder, and a schema on a server."""
    if request.param == "folder":
        pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")
        return str(tmp_path / "index")
    return f"{request.getfixturevalue('postgres_url')}?schema={tmp_path.name}"


@pytest.fixture
def store(place) -> Iterator[VectorStore]:
    """A store that was begun."""
    opened = open_store(place)
    opened.write_about(about())
    yield opened
    opened.close()


@pytest.fixture
def photos(tmp_path) -> Path:
    """Pictures to index."""
    return write_pictures(tmp_path / "photos")


@pytest.fixture
def folder_store(tmp_path) -> Iterator[VectorStore]:
    """A store in a folder, not begun."""
    pytest.importorskip("lancedb", reason="an index in a folder needs the extra [search]")
    opened = open_store(str(tmp_path / "index"))
    yield opened
    opened.close()


@pytest.fixture
def counting(tiny) -> Counting:
    """A base model that counts what it looks at."""
    return Counting(tiny)


@pytest.fixture
def where(folder):
    return Where(folder.parent, device="cpu")


@pytest.fixture
def content(tiny_folder):
    return {"base": str(tiny_folder), "train": {"dataset": "folder"}, "test": [{"dataset": "folder"}],
            "settings": {"vocab_size": 400, "batch_size": 8, "epochs": 2, "learning_rate": 1e-3}}  # fmt: skip


@pytest.fixture(scope="session")
def english(captions, tmp_path_factory) -> Corpus:
    """The 24 pictures; three of them with a second caption, one of it longer than the tower takes."""
    lines = (captions / "de.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.rsplit("\t", 1)[0] for line in lines]
    more = [f"0-0.png\t{'a very red square ' * 40}", "1-1.png\tgrass", "2-2.png\ta wall of blue bricks"]
    folder = shutil.copytree(captions, tmp_path_factory.mktemp("english") / "english")
    (folder / "english.tsv").write_text("\n".join([*rows, *more]) + "\n", encoding="utf-8")
    return read_captions(folder / "english.tsv", "en")


@pytest.fixture(scope="session")
def tuned_folder(tiny_folder, english, tmp_path_factory) -> Path:
    """The tiny model, tuned on English."""
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    settings = TuneSettings(epochs=3, batch_size=8, learning_rate=1e-3)
    tune_english(tiny_folder, english, settings, device="cpu").save(folder)
    return folder


@pytest.fixture(scope="session")
def learnt(tiny_folder, captions, tmp_path_factory) -> Path:
    """German on the base model before it was tuned: rows under TEIR, and MLA's modules."""
    folder = tmp_path_factory.mktemp("learnt") / "de"
    student = babelclip.load(tiny_folder, device="cpu")
    settings = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=2, learning_rate=1e-3)
    student.learn("de", captions / "de.tsv", method="mla+teir", settings=settings)
    student.save(folder)
    return folder
