"""Processes of their own that start at once: forked from one that has imported the libraries and did nothing else.

A fresh interpreter spends seconds on importing torch and transformers. What is imported, the environment apart from
what is given, and the state of the libraries are those of a fresh one.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["babelclip.continual", "babelclip.benchmarks.run"])


def start(target, *arguments, said: Path, **environment) -> BaseProcess:
    """Run a function of a module; what it writes goes to the files ``stdout`` and ``stderr`` of the folder ``said``."""
    said.mkdir(parents=True, exist_ok=True)
    process = CONTEXT.Process(target=_run, args=(target, arguments, said, environment), daemon=False)
    process.start()
    return process


def finish(process: BaseProcess, said: Path, seconds: float = 120) -> tuple[int, str, str]:
    """Wait for its end; return exit code, stdout and stderr."""
    process.join(seconds)
    late = process.is_alive()
    if late:
        process.kill()
        process.join()
    code, out, err = process.exitcode, *((said / name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    process.close()
    assert not late, f"not finished after {seconds} s: {err}"
    return code, out, err


def command_line(*arguments) -> None:
    """``python -m babelclip ...``"""
    sys.argv = [str(Path(sys.executable).with_name("__main__.py")), *map(str, arguments)]
    runpy.run_module("babelclip", run_name="__main__", alter_sys=True)


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _run(target, arguments, said: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    target(*arguments)
