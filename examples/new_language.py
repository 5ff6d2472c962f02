"""A language that no library knows: teach it, install it, see that nothing else changes by a bit, remove it.

Its words are made up by a rule: each English word has one of its own, and they stand the other way round. Its tag is
qaa, one of those that BCP-47 keeps for private use (qaa to qtz). A second one, qab, is there to be left alone.

python examples/new_language.py [FOLDER]   # FOLDER keeps what is written; half a minute on one core
"""

# %% Settings
import hashlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import babelclip
from babelclip.benchmarks import openmoji
from babelclip.data import Teacher
from babelclip.packs import install_pack, list_installed, pack_recipe, remove_pack

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
SETTINGS = replace(pack_recipe("pictoclip"), batch_size=16)  # there are few captions
SUBJECTS = {"qaa": ("images/1F3", "images/1F5"), "qab": ("images/1F4", "images/1F42")}  # plants to books; some animals


# %% The languages: syllables from the hash of each English word, last word first.
def translate(english: str, tag: str) -> str:
    """Say an English text in one of the new languages."""
    digests = [hashlib.sha256(f"{tag} {word}".encode()).digest() for word in reversed(english.lower().split())]
    return " ".join("".join("bdfgklmnprstvz"[d[i] % 14] + "aeiou"[d[i + 1] % 5] for i in (0, 2, 4)) for d in digests)


def write_captions(tag: str, split: str) -> Path:
    """Write a caption file in a new language for some of the built-in pictograms."""
    lines = (FOLDER / "data" / f"en.{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    named = [line.split("\t") for line in lines if "skin tone" not in line]
    start, end = SUBJECTS[tag]
    rows = [f"data/{picture}\t{name}\t{translate(name, tag)}" for picture, name in named if start < picture < end]
    (FOLDER / f"{tag}.{split}.tsv").write_text("\n".join([f"image\ten\t{tag}", *rows]) + "\n", encoding="utf-8")
    return FOLDER / f"{tag}.{split}.tsv"


if not (FOLDER / "data").exists():
    openmoji.write_folder(FOLDER / "data", ["en"])
for english in ("blue heart", "red heart"):
    print(f"{english} is {translate(english, 'qaa')} in qaa and {translate(english, 'qab')} in qab")

# %% A folder with qab alone, and what it answers.
model = babelclip.Polyglot.load("pictoclip", device="cpu")
teacher = Teacher(model.encoder)  # remembers the vectors of pictures
other, _ = babelclip.learn_pack(model, "qab", write_captions("qab", "train"), settings=SETTINGS, teacher=teacher)
install_pack(FOLDER / "my", other, model.encoder, replace=True)
pictures = sorted((FOLDER / "data" / "images").glob("*.png"))[:20]


def answers() -> list[torch.Tensor]:
    """Vectors of English texts, of qab and of pictures, by the folder as it is now."""
    now, english = babelclip.Polyglot.load(FOLDER / "my", device="cpu"), ["blue heart", "red heart", "pig face"]
    texts = [now.encode_texts([translate(text, "qab") for text in english], language="qab")]
    return [now.encode_texts(english, language="en"), *texts, now.encode_images(pictures)]


before = answers()

# %% Learn qaa, install it beside qab, and measure on drawings and texts that were in no training.
pack, report = babelclip.learn_pack(model, "qaa", write_captions("qaa", "train"), settings=SETTINGS, teacher=teacher)
install_pack(FOLDER / "my", pack, model.encoder, replace=True)
test = teacher.prepare(babelclip.read_captions(write_captions("qaa", "test"), "qaa"))
untaught, taught = (one.evaluate(test, language=tag) for one, tag in ((model, "en"), (model.install(pack), "qaa")))
print(
    f"\nLearnt qaa in {report.steps} steps, {report.seconds:.1f} s. Held-out texts whose picture is among the first 10"
)
print(f"of {len(test.files)}: {untaught['img_r10']:.1f} % before, {taught['img_r10']:.1f} % after learning")

# %% With qaa, and without it again: English, qab and pictures have the same bits.
for what in ("installed", "removed"):
    if what == "removed":
        remove_pack(FOLDER / "my", "qaa")
    same = all(torch.equal(one, other) for one, other in zip(before, answers(), strict=True))
    tags = ", ".join(["en", *list_installed(FOLDER / "my")])
    print(f"qaa {what}: {tags}; English, qab and pictures are {'the same, bit for bit' if same else 'CHANGED'}")
