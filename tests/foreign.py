"""Fresh virtual environments that hold one foreign tool each and no babelclip; made once and kept.

``mteb`` is the one that babelclip runs in: it holds what babelclip needs too.

BABELCLIP_FOREIGN=FOLDER keeps them there, ``on`` in the user's cache; unset or ``off``, nothing is made and what needs
one is skipped. An environment is a folder NAME-HASH, where HASH is that of its packages and of Python's version.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TOOLS = {
    "transformers": ["torch", "transformers", "pillow"],
    "onnx": ["onnxruntime", "tokenizers", "pillow", "numpy"],
    "sentence-transformers": ["torch", "transformers", "pillow", "sentence-transformers==6.2.0"],
    "open_clip": ["torch", "torchvision==0.28.0", "transformers", "pillow", "open_clip_torch==3.3.0"],
    "mteb": [
        "accelerate",
        "filelock",
        "numpy",
        "pillow",
        "pydantic",
        "rich",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
        "typer",
        "mteb==2.26.24",
        "sentence-transformers==6.2.0",
    ],
}
BEFORE = {
    "open_clip": """
import sys, torch
try:
    import torchvision
except RuntimeError:  # its operators were built for CUDA; open_clip needs none, only their names must be known
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float limit) -> Tensor")
    import torchvision
"""
}
"""What a tool needs on this machine before its program: PyPI has torchvision for Linux with CUDA alone."""
READY = "ready"


def home() -> Path:
    """Where environments are kept; skips the test that asks where none are wanted."""
    asked = os.environ.get("BABELCLIP_FOREIGN", "")
    if asked in ("", "off"):
        pytest.skip("set BABELCLIP_FOREIGN=on (or to a folder) to make environments of the foreign tools, 4 GB in all")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "babelclip" / "foreign" if asked == "on" else Path(asked)


def python_of(tool: str) -> Path:
    """The interpreter of a tool's environment, which is made where there is none; skips where pip cannot."""
    place = home()
    content = f"{sys.version_info[:2]} {TOOLS[tool]} {CONSTRAINTS.read_text()}"
    folder = place / f"{tool}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / READY).exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, *TOOLS[tool]]
            made = subprocess.run(pip, capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"pip cannot get {', '.join(TOOLS[tool])}: {made.stderr.strip()[-300:]}")
            (folder / READY).touch()
    return python


def run(tool: str, code: str, folder: Path) -> None:
    """Run a program with a tool's environment, without network and without babelclip, in a folder."""
    _run(tool, ["-I", "-c", BEFORE.get(tool, "") + code], folder)


def run_file(tool: str, file: Path, *arguments: object, folder: Path, babelclip: bool = False) -> str:
    """Run a file in the same way, beside this babelclip or not; returns what it printed."""
    isolated = [] if babelclip else ["-I"]
    program = [str(file)]
    if tool in BEFORE:
        program = ["-c", f"{BEFORE[tool]}\nimport runpy\nrunpy.run_path({str(file)!r}, run_name='__main__')"]
    extra = {"PYTHONPATH": str(ROOT / "src"), "BABELCLIP_CACHE": "off"} if babelclip else {}
    return _run(tool, [*isolated, *program, *map(str, arguments)], folder, extra)


def _run(tool: str, command: list[str], folder: Path, more: dict[str, str] | None = None) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    extra = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **(more or {})}
    done = subprocess.run(
        [python_of(tool), *command], cwd=folder, env=kept | extra, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
