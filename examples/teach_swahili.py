"""Teach the built-in model Swahili from a table of captions, then search pictures in Swahili.

python examples/teach_swahili.py [FOLDER]   # FOLDER keeps what is written; seconds on one core
"""

# %% Settings
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from torch.nn.functional import normalize

import babelclip
from babelclip.benchmarks import openmoji
from babelclip.packs import install_pack, pack_recipe

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
FEW = {"epochs": 20, "batch_size": 16, "learning_rate": 1e-2}  # few captions: small steps often; for thousands leave it
WORDS = """cat: paka, black cat: paka mweusi, dog face: uso wa mbwa, cow: ng'ombe, cow face: uso wa ng'ombe,
pig: nguruwe, pig nose: pua ya nguruwe, rabbit: sungura, rabbit face: uso wa sungura, monkey: tumbili,
monkey face: uso wa tumbili, lion: simba, elephant: tembo, giraffe: twiga, zebra: punda milia, donkey: punda,
camel: ngamia, goat: mbuzi, snake: nyoka, rooster: jogoo, chicken: kuku, bird: ndege, black bird: ndege mweusi,
duck: bata, frog: chura, crocodile: mamba, tiger: chui milia, tiger face: uso wa chui milia, leopard: chui,
butterfly: kipepeo, honeybee: nyuki, spider: buibui, hippopotamus: kiboko, rhinoceros: kifaru, shark: papa,
crab: kaa, red heart: moyo mwekundu, black heart: moyo mweusi, white heart: moyo mweupe,
green heart: moyo wa kijani, yellow heart: moyo wa njano, purple heart: moyo wa zambarau,
blue circle: duara la bluu, black circle: duara jeusi, purple circle: duara la zambarau,
brown circle: duara la kahawia, red square: mraba mwekundu, yellow square: mraba wa njano,
blue book: kitabu cha bluu, orange book: kitabu cha chungwa, closed book: kitabu, books: vitabu,
red apple: tofaa jekundu, green apple: tofaa la kijani, banana: ndizi, mango: embe, pineapple: nanasi,
coconut: nazi, tomato: nyanya, carrot: karoti, bread: mkate, egg: yai, salt: chumvi, house: nyumba, school: shule,
hospital: hospitali, mosque: msikiti, church: kanisa, automobile: gari, bus: basi, bicycle: baiskeli,
motorcycle: pikipiki, ship: meli, door: mlango, window: dirisha, chair: kiti, umbrella: mwavuli, star: nyota,
fire: moto"""

# %% Pictures: drawings with English names, written once. A caption file is a table: picture, English, the new language.
if not (FOLDER / "data").exists():
    openmoji.write_folder(FOLDER / "data", ["en"])
swahili = dict(pair.split(": ") for pair in WORDS.replace("\n", " ").split(", "))
named = [line.split("\t") for line in (FOLDER / "data" / "en.train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
rows = [f"data/{picture}\t{name}\t{swahili[name]}" for picture, name in named if name in swahili]
(FOLDER / "swahili.tsv").write_text("\n".join(["image\ten\tsw", *rows]) + "\n", encoding="utf-8")
print(f"{FOLDER / 'swahili.tsv'} has {len(rows)} captions, such as:", "image\ten\tsw", *rows[:3], sep="\n  ")

# %% Teach. The result is a pack: one small file that is installed beside the model.
model = babelclip.Polyglot.load("pictoclip", device="cpu")
settings = replace(pack_recipe("pictoclip"), **FEW)
pack, report = babelclip.learn_pack(model, "sw", FOLDER / "swahili.tsv", settings=settings)
file = install_pack(FOLDER / "my", pack, model.encoder, replace=True)
model = babelclip.Polyglot.load(FOLDER / "my", device="cpu")
print(f"\nLearnt in {report.steps} steps, {report.seconds:.1f} s; {file} has {file.stat().st_size / 1e3:.0f} kB")

# %% Search other drawings: these pictures were in no training, and nor were these texts.
others = [line.split("\t") for line in (FOLDER / "data" / "en.test.tsv").read_text(encoding="utf-8").splitlines()[1:]]
held_out = [(picture, name) for picture, name in others if "skin tone" not in name]
pictures = normalize(model.encode_images([FOLDER / "data" / picture for picture, _ in held_out]))
for query, wanted in {
    "uso wa nguruwe": "pig face", "mbwa": "dog", "duara jekundu": "red circle", "duara la kijani": "green circle",
    "mraba wa zambarau": "purple square", "mraba wa bluu": "blue square", "moyo wa kahawia": "brown heart",
}.items():  # fmt: skip
    scores = pictures @ normalize(model.encode_texts([query], language="sw"))[0]
    best = [held_out[place][1] for place in scores.argsort(descending=True)]
    print(f"  {query:18} finds {', '.join(best[:3])}   ({wanted} is number {best.index(wanted) + 1} of {len(best)})")
