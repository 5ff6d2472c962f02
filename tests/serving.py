"""``babelclip serve`` and ``babelclip index`` as processes of their own, and what must hold after they were killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from babelclip.errors import BabelclipError
from babelclip.packs import list_installed, load_polyglot
from babelclip.search.open import open_store
from babelclip.search.query import Query, Searcher

BABELCLIP = (sys.executable, "-m", "babelclip")
ENDED = (ConnectionError, urllib.error.URLError, http.client.HTTPException, TimeoutError)


@dataclass
class Server:
    """A running server; ``url`` ends without a slash, ``token`` is what it printed."""

    process: subprocess.Popen[str]
    url: str
    token: str | None
    log: Path

    @property
    def place(self) -> tuple[str, int]:
        """Host and port, for raw connections."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def ask(
        self, path: str, content: bytes | None = None, *, token: str | None = None
    ) -> tuple[int, dict[str, object]]:
        """Return status and JSON of an answer; a POST where there is content."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, content, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def end(self, sign: int) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(sign)
        return self.process.wait(60)

    @property
    def printed(self) -> str:
        """What it printed on its error stream."""
        return self.log.read_text()


@contextlib.contextmanager
def serving(store: str, model: Path | str, log: Path, *options: str) -> Iterator[Server]:
    """Start a server on a free port; it is there when its address is printed."""
    command = [*BABELCLIP, "serve", "--port", "0", "--store", store, "--model", str(model), "--device", "cpu", *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                if found := re.search(r"Open (http://\S+:\d+)/(?:\?token=(\S+))?", line):
                    yield Server(process, found[1], found[2], log)
                    return
            raise AssertionError(f"the server did not start: {log.read_text()}")
        finally:
            process.kill()


@dataclass
class Kills:
    """What happened to servers that were killed.

    Attributes:
        answers: searches that were answered.
        installed: packs that were said to be installed.
        lost: what was said to be there and was not, afterwards.
        wrong: answers that are none.
    """

    answers: int = 0
    installed: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def kill_server(
    store: str, packs: Path, files: Sequence[Path], log: Path, chance: random.Random, seconds: float, told: Kills
) -> None:
    """Kill a server while two clients search and one installs packs, and see what is left.

    Args:
        store: the index.
        packs: folder of packs that is served.
        files: packs that are installed, over and over.
        log: where its error stream goes.
        chance: says when.
        seconds: at the latest after so many.
        told: what happened.
    """
    before, rows = set(list_installed(packs)), count_rows(store)
    said: set[str] = set()
    stop = threading.Event()
    with serving(store, packs, log) as server:

        def search() -> None:
            with contextlib.suppress(*ENDED):
                while not stop.is_set():
                    status, answer = server.ask("/search?q=a+red+square&language=en")
                    told.answers += 1
                    if status != 200:
                        told.wrong.append(f"{status} {answer}")

        def install() -> None:
            with contextlib.suppress(*ENDED):
                while not stop.is_set():
                    status, answer = server.ask("/languages?replace=true", chance.choice(files).read_bytes())
                    if status == 201:
                        told.installed += 1
                        said.add(str(answer["tag"]))
                    else:
                        told.wrong.append(f"{status} {answer}")

        threads = [threading.Thread(target=one) for one in (search, search, install)]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0, seconds))
        server.process.kill()
        server.process.wait()
        stop.set()
        for thread in threads:
            thread.join()
    found = list_installed(packs)  # every file is compared with its checksum
    told.lost += [f"pack {tag}" for tag in (before | said) - set(found)]
    told.lost += [f"{rows - count_rows(store)} rows"] if count_rows(store) != rows else []


def still_works(store: str, packs: Path) -> bool:
    """Whether every installed language finds something."""
    with contextlib.closing(open_store(store)) as opened:
        searcher = Searcher(load_polyglot(packs, device="cpu"), opened)
        queries = [Query("a", language=tag, k=3) for tag in searcher.polyglot.languages]
        return all(len(answer.hits) == 3 for answer in searcher.search_all(queries))


def kill_index(folder: Path, store: str, model: Path | str, chance: random.Random, seconds: float) -> None:
    """Kill ``babelclip index`` some time after it has written something."""
    command = [*BABELCLIP, "index", str(folder), "--store", store, "--model", str(model), "--device", "cpu"]
    before, until = count_rows(store), time.monotonic() + 60
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and count_rows(store) == before and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(chance.uniform(0, seconds))
        process.kill()


def files_of(store: str) -> set[str]:
    """Paths of the files that have rows."""
    with contextlib.closing(open_store(store)) as opened:
        return {file.path for file in opened.files()}


def count_rows(store: str) -> int:
    """Rows of an index; 0 before there is one, also where its very first writing was interrupted."""
    with contextlib.suppress(BabelclipError), contextlib.closing(open_store(store)) as opened:
        return len(opened)
    return 0
