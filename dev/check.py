"""The rules of the house that linters do not know.

    python dev/check.py            # exit code 1 and one line a violation

1. Imports point downwards only, in the order of ``ORDER``; rooms on one line do not import each other.
2. No source file is longer than 400 lines.
3. Generated documentation is up to date (``python dev/docs.py`` writes it).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT = 400

# From the ground up. Names on one line are neighbours and may not import each other, except on the ground floor.
ORDER = (
    {"__init__", "errors", "languages", "registry", "config", "files"},
    {"encoders", "objectives"},
    {"lexicon", "evaluation"},
    {"data", "acquirers"},
    {"methods"},
    {"training"},
    {"continual"},
    {"packs"},
    {"benchmarks", "report"},
    {"export"},
    {"search", "hub"},
    {"cli"},
    {"__main__"},
)


def check_layers(source: Path) -> list[str]:
    """Return one line for each import that points upwards or sideways, and for each room without a floor."""
    floor_of = {name: floor for floor, names in enumerate(ORDER) for name in names}
    problems = []
    for file in sorted(source.rglob("*.py")):
        room = file.relative_to(source).parts[0].removesuffix(".py")
        if room not in floor_of:
            problems.append(f"{file}:1: the room {room!r} has no floor in dev/check.py")
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in _targets(node):
                parts = target.split(".")
                other = parts[1] if len(parts) > 1 else "__init__"
                other = other if other in floor_of else "__init__"  # `from babelclip import __version__`
                sideways = floor_of[other] == floor_of[room] != 0 and other != room
                if floor_of[other] > floor_of[room] or sideways:
                    problems.append(f"{file}:{node.lineno}: {room} imports {other}, which is not below it")
    return problems


def _targets(node: ast.AST) -> list[str]:
    """Modules of babelclip that a node imports."""
    if isinstance(node, ast.ImportFrom):
        names = [node.module or ""] if node.module != "babelclip" else [f"babelclip.{a.name}" for a in node.names]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        return []
    return [name for name in names if name.split(".")[0] == "babelclip"]


def check_sizes(files: list[Path]) -> list[str]:
    """Return one line for each file over the limit."""
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    return [f"{file}:1: {length} lines, at most {LIMIT}" for file, length in lengths.items() if length > LIMIT]


def main() -> int:
    """Check everything and print what is wrong."""
    source = ROOT / "src" / "babelclip"
    files = [
        file
        for folder in ("src", "tests", "recipes", "bench", "dev", "examples")
        for file in (ROOT / folder).rglob("*.py")
    ]
    problems = check_layers(source) + check_sizes(files)
    stale = subprocess.run(
        [sys.executable, ROOT / "dev" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    problems += (stale.stdout + stale.stderr).splitlines()
    print("\n".join(problems) or f"house in order: {len(files)} files")
    return 1 if problems or stale.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
