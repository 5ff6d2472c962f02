"""Start the server as a process of its own, search over HTTP with the standard library, and stop it.

python examples/serve_it.py [FOLDER]   # FOLDER keeps what is written; seconds on one core
"""

# %% Settings
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from babelclip.benchmarks import openmoji

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
BABELCLIP = [sys.executable, "-m", "babelclip"]  # in a shell: babelclip
PLACES = ["--store", str(FOLDER / "index"), "--model", "pictoclip"]  # or a folder of packs: all their languages
NUM_PICTURES = 100

# %% A folder of pictures, indexed on the command line.
if not (FOLDER / "data").exists():
    openmoji.write_folder(FOLDER / "data", ["en"])
lines = (FOLDER / "data" / "en.test.tsv").read_text(encoding="utf-8").splitlines()[1:]
named = [line.split("\t") for line in lines if "skin tone" not in line][-NUM_PICTURES:]
name_of = {Path(picture).name: name for picture, name in named}
(FOLDER / "pictures").mkdir(exist_ok=True)
for picture in name_of:
    shutil.copy(FOLDER / "data" / "images" / picture, FOLDER / "pictures")
subprocess.run([*BABELCLIP, "index", FOLDER / "pictures", *PLACES], check=True)

# %% Start. Port 0 is any that is free; the server prints its address when it is ready.
server = subprocess.Popen([*BABELCLIP, "serve", "--port", "0", *PLACES], stdout=subprocess.PIPE, text=True)
address = ""
for line in server.stdout or ():
    if found := re.search(r"Open (http://\S+)/", line):
        address = found[1]
        break
print(f"The server is ready at {address}; a browser shows its page there")


def get(path: str, **fields: str | int) -> Any:
    """Ask the server for JSON."""
    with urllib.request.urlopen(f"{address}{path}?{urllib.parse.urlencode(fields)}", timeout=60) as answer:
        return json.load(answer)


# %% Ask, and stop whatever happens.
try:
    print("Languages:", ", ".join(language["tag"] for language in get("/languages")["languages"]))
    for text in ("purple square", "green circle", "mountain"):
        answer = get("/search", q=text, k=3)
        names = [name_of[hit["name"]] for hit in answer["results"]]
        print(f"  {text}: {', '.join(names)}")
finally:
    server.send_signal(signal.SIGINT)  # as Ctrl-C does
    server.communicate(timeout=30)
print(f"The server has ended with exit code {server.returncode}")
