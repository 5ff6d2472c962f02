"""What the tests of exports share: packs and students to export, texts, and the example of a README.md."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import normalize

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.packs import Polyglot, learn_pack
from babelclip.packs.card import DataCard, Measured

LONG = "ein quadrat in rot an einer wand " * 20
TEXTS = ["ein quadrat in rot", "", LONG, "красный квадрат", "a red square", "<|endoftext|> Ein  Feld", "2024 grün!"]
QUICK = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2)


def learn_packs(encoder, examples, methods):
    """A polyglot with a pack for each (tag, method); of German texts for ``de``, else of Russian ones."""
    empty = Polyglot(encoder, base_lexicon(encoder))
    settings = replace(QUICK, idle_decay=False)
    for tag, method in methods.items():
        given = replace(examples["de" if tag == "de" else "ru"], language=tag)
        pack, _ = learn_pack(Polyglot(encoder, base_lexicon(encoder)), tag, given, settings=settings, method=method)
        measured = Measured(data="held-out", texts=24, pictures=24, scores={"img_r10": 61.25}, before={"img_r10": 40.0})
        card = pack.card.model_copy(
            update={
                "licence": "CC0-1.0", "data": DataCard(name="signs|of\ntown", texts=24, pictures=24),
                "metrics": [measured], "note": "made for tests",
            }
        )  # fmt: skip
        empty = empty.install(replace(pack, card=card))
    return empty


def learn_shared(encoder, examples):
    """A student that has learnt German and Russian into one lexicon."""
    student = babelclip.Student(encoder)
    for tag in ("de", "ru"):
        student.learn(tag, examples[tag], method="cll+teir", settings=QUICK)
    return student


def write_photo(folder: Path) -> Path:
    """A picture that is no square, with more than one colour."""
    photo = Image.new("RGB", (50, 37), "orange")
    photo.paste("navy", (5, 5, 30, 20))
    photo.save(folder / "photo.png")
    return folder / "photo.png"


def example(readme: Path, texts, photo: Path) -> str:
    """The program of a README.md, with other texts and another picture."""
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    code, count = re.subn(r"(texts, \w+ = )\[.*?\]", lambda found: found[1] + repr(list(texts)), code, count=1)
    assert count == 1
    assert "photo.jpg" in code
    return code.replace("photo.jpg", str(photo))


def run_example(readme: Path, texts, photo: Path, monkeypatch):
    """Run the program of a README.md in its folder; its vectors of texts and pictures."""
    monkeypatch.chdir(readme.parent)
    names = {}
    exec(example(readme, texts, photo), names)
    return names["text_vectors"], names["image_vectors"]


def assert_close(found, expected, tolerance):
    """Compare directions."""
    found, expected = (normalize(torch.as_tensor(one).float()) for one in (found, expected))
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
