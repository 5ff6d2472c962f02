"""The examples for other tools, each run with that tool: they print what babelclip computes.

Run with BABELCLIP_FOREIGN=on (tests/foreign.py); `make test` skips them otherwise.
"""

import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

import babelclip
from babelclip.data import Teacher
from babelclip.export import export_model
from babelclip.packs import install_pack
from exports import learn_packs
from foreign import python_of, run_file

EXAMPLES = Path(__file__).parents[1] / "examples"
ALONE = {
    "transformers": "transformers", "sentence-transformers": "sentence_transformers", "open_clip": "open_clip",
    "onnx": "onnx",
}  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an environment has no folder bin there")


@pytest.fixture(scope="module")
def polyglot(tiny, examples):
    return learn_packs(tiny, examples, {"de": "cll", "ru": "cll"})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve pictures that are all different, with captions for testing in German and Russian."""
    folder = tmp_path_factory.mktemp("held-out")
    colours = {"rot": ("красный", "red"), "blau": ("синий", "blue"), "gelb": ("жёлтый", "yellow")}
    rows = {"de": ["image\ten\tde"], "ru": ["image\ten\tru"]}
    for i, (german, (russian, english)) in enumerate(colours.items()):
        for j, thing in enumerate(("feld квадрат", "wand поле", "quadrat стена", "ein a")):
            picture = Image.new("RGB", (40, 30), english)
            picture.paste("white", (3 * i, 5 * j, 3 * i + 9, 5 * j + 7))
            picture.save(folder / f"{i}{j}.png")
            rows["de"].append(f"{i}{j}.png\t{english}\t{thing.split()[0]} in {german}")
            rows["ru"].append(f"{i}{j}.png\t{english}\t{russian} {thing.split()[1]}")
    for tag, lines in rows.items():
        (folder / f"{tag}.test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("target", ALONE)
def test_a_tool_alone_finds_the_best_picture(target, polyglot, data, tmp_path):
    python_of(target)  # skips before anything is done
    places = export_model(polyglot, tmp_path / "out", to=target, languages=["de"])
    files, text = sorted(data.glob("*.png")), "quadrat in rot"
    found = run_file(
        target, EXAMPLES / "foreign" / f"with_{ALONE[target]}.py", places["de"], text, *files, folder=tmp_path
    )
    score, file = found.split(maxsplit=1)
    images = normalize(polyglot.encode_images(files))
    scores = images @ normalize(polyglot.encode_texts([text], language="de"))[0]
    assert file.strip() == str(files[scores.argmax()])
    assert float(score) == pytest.approx(float(scores.max()), abs=2e-5)


def scores_of(model, data, tag, language):
    teacher = Teacher(model.encoder)
    return model.evaluate(teacher.prepare(babelclip.read_captions(data / f"{tag}.test.tsv", tag)), language=language)


def test_mteb_measures_what_babelclip_measures_each_language_by_its_pack(polyglot, data, tmp_path):
    python_of("mteb")
    for pack in polyglot.packs.values():
        install_pack(tmp_path / "my", pack, polyglot.encoder)
    said = run_file(
        "mteb", EXAMPLES / "mteb_wrapper.py", tmp_path / "my", data, "de", "ru", folder=tmp_path, babelclip=True
    )
    found = dict(re.findall(r"^(\w+): .* found first ([\d.]+) %$", said, re.MULTILINE))
    own = {tag: scores_of(polyglot, data, tag, tag)["img_r1"] for tag in ("de", "ru")}
    assert {tag: float(score) for tag, score in found.items()} == pytest.approx(own, abs=0.01)


def test_sentence_transformers_is_watched_with_babelclips_scores(polyglot, data, tmp_path):
    python_of("mteb")
    places = export_model(polyglot, tmp_path / "out", to="sentence-transformers", languages=["de"])
    file = EXAMPLES / "sentence_transformers_evaluator.py"
    said = run_file("mteb", file, places["de"], data, "de", "ru", folder=tmp_path, babelclip=True)
    found = {tag: float(score) for tag, score in re.findall(r"^(\w+): .* r_mean ([\d.]+)$", said, re.MULTILINE)}
    own = {tag: scores_of(polyglot, data, tag, "de")["r_mean"] for tag in ("de", "ru")}  # the folder cuts all as German
    assert found == pytest.approx(own, abs=0.01)
    mean = torch.tensor(list(own.values())).mean()
    assert f"mean: {mean:.2f}" in said


TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from datasets import Dataset
from PIL import Image
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers_evaluator import CaptionEvaluator
from babelclip import read_captions

corpus = read_captions(Path(sys.argv[3]) / "de.test.tsv", "de")
rows = {"text": [one.text for one in corpus.captions], "english": [one.english for one in corpus.captions]}
model = SentenceTransformer(sys.argv[2], device="cpu")
arguments = SentenceTransformerTrainingArguments(
    "trained", max_steps=4, eval_strategy="steps", eval_steps=2, per_device_train_batch_size=4, report_to="none",
    use_cpu=True, save_strategy="no",
)
SentenceTransformerTrainer(
    model, arguments, train_dataset=Dataset.from_dict(rows), loss=MultipleNegativesRankingLoss(model),
    evaluator=CaptionEvaluator({"de": corpus}),
).train()
"""


def test_it_is_asked_while_sentence_transformers_trains(polyglot, data, tmp_path):
    python_of("mteb")
    places = export_model(polyglot, tmp_path / "out", to="sentence-transformers", languages=["de"])
    (tmp_path / "train.py").write_text(TRAIN)
    said = run_file(
        "mteb", tmp_path / "train.py", EXAMPLES, places["de"], data, folder=tmp_path, babelclip=True
    )  # fmt: skip
    assert len(re.findall(r"'eval_mean_r_mean': ", said)) == 2
    logged = list(tmp_path.rglob("captions.jsonl"))
    assert len(logged) == 1
    assert [line.count('"de_r_mean"') for line in logged[0].read_text().splitlines()] == [1, 1]
