"""Each example is run as it stands, in an empty folder with the built-in data, and says what is true."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from babelclip.evaluation import read_results
from babelclip.packs import list_installed

EXAMPLES = Path(__file__).parents[1] / "examples"
ENVIRONMENT = {"OMP_THREAD_LIMIT": "1", "PYTHONPATH": str(EXAMPLES.parent / "src")}


@pytest.fixture
def run(openmoji_folder, tmp_path):
    (tmp_path / "data").symlink_to(openmoji_folder)  # drawn once for all tests

    def run_example(name):
        command = [sys.executable, EXAMPLES / f"{name}.py", "."]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | ENVIRONMENT, capture_output=True, text=True,
            encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return run_example


def test_swahili_is_taught_from_a_table_and_searched(run, tmp_path):
    said = run("teach_swahili")
    header, *rows = (tmp_path / "swahili.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "image\ten\tsw"
    assert f"has {len(rows)} captions" in said
    assert any(row.endswith("\tgreen heart\tmoyo wa kijani") for row in rows)
    assert len(rows) == (EXAMPLES / "teach_swahili.py").read_text(encoding="utf-8").split('"""')[3].count(": ")
    card = list_installed(tmp_path / "my")["sw"]
    assert card.data.texts == len(rows)
    ranks = [int(rank) for rank in re.findall(r"is number (\d+) of 188\)", said)]
    assert len(ranks) == 7
    assert sum(rank <= 10 for rank in ranks) >= 5  # by chance 0.4 of them


def test_a_folder_is_indexed_once_and_searched_in_languages_learnt_later(run):
    said = run("search_folder")
    assert re.search(r"Indexed 188 pictures in \S+ s; once more, 0 new", said)
    assert "the model knows en, es, ko" in said
    found = re.findall(r"^  (.+) \((\w+), \d+ ms\): (.+)$", said, re.MULTILINE)
    assert [tag for _, tag, _ in found] == ["en"] * 3 + ["es"] * 3 + ["ko"] * 3
    pigs = [names.split(", ") for text, _, names in found if text in ("pig face", "cara de cerdo", "돼지 얼굴")]
    assert len(pigs) == 3
    assert all("pig face" in names for names in pigs)


def test_methods_are_compared_in_a_table_and_a_report(run, tmp_path):
    said = run("compare_methods")
    results = read_results(tmp_path / "runs" / "results.json")
    assert [run.method for run in results.runs] == ["cll", "cll+teir", "cll+packs"]
    for one in results.runs:
        (first,), (second, spanish) = one.scores["img_r10"]
        untouched = one.initial["img_r10"][0]
        assert f"English {untouched:.1f} % untouched, {first:.1f} after its turn, {second:.1f} after Spanish\n" in said
        assert (first == second == untouched) == (one.method == "cll+packs")
        assert spanish > one.chance["img_r10"]
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| img_r10")]
    assert [row[1] for row in rows] == ["cll", "cll+teir", "cll+packs"]
    assert [row[4] for row in rows][2] == "0.0"  # F of packs
    assert "<svg" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_a_language_that_nobody_knows_changes_nothing_else(run, tmp_path):
    said = run("new_language")
    before, after = (float(share) for share in re.findall(r"([\d.]+) % (?:before|after)", said))
    assert after > before + 30
    assert re.findall(r"^qaa (\w+): (.+); .* are the same, bit for bit$", said, re.MULTILINE) == [
        ("installed", "en, qaa, qab"), ("removed", "en, qab"),
    ]  # fmt: skip
    assert list(list_installed(tmp_path / "my")) == ["qab"]
    assert len((tmp_path / "qaa.train.tsv").read_text().splitlines()) > 500


def test_the_server_is_searched_over_http_and_has_ended(run):
    said = run("serve_it")
    address = re.search(r"ready at (http://\S+);", said)[1]
    assert "Files: 100 new" in said
    assert "Languages: en\n" in said
    assert "  purple square: purple square, " in said
    assert said.endswith("The server has ended with exit code 0\n")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.py")), ids=lambda file: file.stem)
def test_an_example_says_how_it_is_run_and_is_in_the_docs(file):
    text = file.read_text(encoding="utf-8")
    path = file.relative_to(EXAMPLES.parent).as_posix()
    assert f"python {path} " in text.split('"""')[1]
    assert f"../{path}" in (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
