"""Index a folder of pictures once, and search it in every language that the model has or learns later.

python examples/search_folder.py [FOLDER]   # FOLDER keeps what is written; half a minute on one core
"""

# %% Settings
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import babelclip
from babelclip.benchmarks import openmoji
from babelclip.data import Teacher
from babelclip.packs import pack_recipe

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
LANGUAGES = ["es", "ko"]
SETTINGS = replace(pack_recipe("pictoclip"), batch_size=16, learning_rate=8e-3)  # there are few captions
QUERIES = {
    "en": ["pig face", "green book", "sun behind large cloud"],
    "es": ["cara de cerdo", "libro verde", "sol detrás de una nube grande"],
    "ko": ["돼지 얼굴", "초록색 책", "큰 구름 뒤의 태양"],
}

# %% A folder of pictures. Put the name of your own in its place.
if not (FOLDER / "data").exists():
    openmoji.write_folder(FOLDER / "data", ["en", *LANGUAGES])


def rows_of(file: str) -> list[list[str]]:
    """Read a caption file: picture, English, and the language's text, one caption a line; skin tones are left out."""
    lines = (FOLDER / "data" / file).read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t") for line in lines if "skin tone" not in line]


name_of = {Path(picture).name: name for picture, name in rows_of("en.test.tsv")}
(FOLDER / "pictures").mkdir(exist_ok=True)
for picture in name_of:
    shutil.copy(FOLDER / "data" / "images" / picture, FOLDER / "pictures")
for language in LANGUAGES:
    rows = [row for row in rows_of(f"{language}.train.tsv") if "images/1F3" < row[0] < "images/1F5"]  # plants to books
    lines = [f"image\ten\t{language}", *(f"data/{picture}\t{english}\t{text}" for picture, english, text in rows)]
    (FOLDER / f"{language}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")

# %% Look at every picture once. The index knows pictures, not languages; it is a folder too.
model = babelclip.Polyglot.load("pictoclip", device="cpu")
store = babelclip.open_store(str(FOLDER / "index"))
report = babelclip.index_folders([FOLDER / "pictures"], store, lambda: model.encoder, workers=1)
again = babelclip.index_folders([FOLDER / "pictures"], store, lambda: model.encoder, workers=1)
print(f"Indexed {report.new} pictures in {report.seconds:.1f} s; once more, {again.new} new, in {again.seconds:.2f} s")

# %% Search in English, learn languages, search the same index in them. Nobody says which language a text is in.
teacher = Teacher(model.encoder)  # remembers the pictures' vectors from language to language
for language in ["en", *LANGUAGES]:
    if language != "en":
        pack, learnt = babelclip.learn_pack(
            model, language, FOLDER / f"{language}.tsv", settings=SETTINGS, teacher=teacher
        )
        model = model.install(pack)
        print(f"\nLearnt {language} in {learnt.seconds:.1f} s; the model knows {', '.join(model.languages)}")
    searcher = babelclip.Searcher(model, store)
    for text in QUERIES[language]:
        answer = searcher.search(babelclip.Query(text, k=3))
        found = ", ".join(name_of[Path(hit.path).name] for hit in answer.hits)
        print(f"  {text} ({answer.route.tag}, {answer.seconds * 1e3:.0f} ms): {found}")
store.close()
