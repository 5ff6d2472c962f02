"""The rules of the house hold, and the checker finds what breaks them."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check", ROOT / "dev" / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_point_downwards(check):
    assert check.check_layers(ROOT / "src" / "babelclip") == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("lexicon/a.py", "from babelclip.methods import cll", "lexicon imports methods"),
        ("encoders/a.py", "import babelclip.objectives.contrastive", "encoders imports objectives"),
        ("training/a.py", "def f():\n    from babelclip.cli import main", "training imports cli"),
        ("errors.py", "from babelclip import encoders", "errors imports encoders"),
        ("kitchen/a.py", "", "the room 'kitchen' has no floor"),
    ],
)
def test_the_checker_finds_upward_and_sideways_imports(check, tmp_path, file, line, problem):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(line)
    assert any(problem in found for found in check.check_layers(tmp_path))


def test_downward_imports_are_fine(check, tmp_path):
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "a.py").write_text(
        "from babelclip import __version__\nfrom babelclip.errors import DataError\n"
    )
    assert check.check_layers(tmp_path) == []


def test_long_files_are_found(check, tmp_path):
    (tmp_path / "long.py").write_text("x = 1\n" * 401)
    assert "401 lines, at most 400" in check.check_sizes([tmp_path / "long.py"])[0]


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line
    }
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {name.split(">")[0].split("[")[0].strip().lower() for name in wanted} - {"babelclip"}
    assert names <= pinned
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
