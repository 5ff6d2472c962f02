"""``babelclip serve``."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

import torch

from babelclip.cli.console import console, note
from babelclip.cli.place import Place, load_model, model_of, place_of
from babelclip.data import user_cache
from babelclip.errors import MissingExtraError, ModelError, SettingError
from babelclip.export import with_onnx
from babelclip.packs import Polyglot
from babelclip.search.open import open_store
from babelclip.search.web.service import Service

TORCH = "torch"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound
WAITING = 512
"""Connections that may wait to be taken up."""


def run_serve(
    place: Place, *, host: str, port: int, token: str | None, threads: int | None, precision: str | None
) -> None:
    """Load everything, say where the page is, and serve until interrupted: Ctrl-C ends it in good order.

    Args:
        place: index and model.
        host: address to listen on.
        port: 0 for a free one.
        token: what is wanted of every request; beyond loopback one is made where none is given.
        threads: of the text tower.
        precision: of the text tower in ONNX, ``float32`` or ``int8``, or ``torch``; by default float32 where
            onnxruntime is installed and there is no GPU.

    Raises:
        SettingError: the port is taken or the address is not this machine's.
        MissingExtraError: a package of the extra ``serve`` is missing.
    """
    try:
        import uvicorn

        from babelclip.search.web.app import make_app
        from babelclip.search.web.protocol import TimedProtocol
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "Serving") from error
    if threads is not None:
        torch.set_num_threads(threads)
    opened = open_store(place_of(place.store))
    polyglot = load_model(opened, place)
    polyglot = _fast(polyglot, precision, threads)
    service = Service(polyglot, opened, Path(model_of(opened, place)))
    if host not in LOOPBACK and token is None:
        token = secrets.token_urlsafe(24)
        note("beyond this machine a token is needed; this one was made and is gone when the server ends")
    listening = _bind(host, port)
    shown = f"[{host}]" if ":" in host else socket.gethostname() if host in EVERYWHERE else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    hosts = ["*"] if host in EVERYWHERE else [host]
    app = make_app(service, hosts=hosts, token=token)
    console.print(f"{len(opened):,} pictures and moments, languages: {', '.join(polyglot.languages)}")
    if service.folder is None:
        note("packs that are installed into this server are forgotten when it ends; --model FOLDER keeps them")
    console.print(f"Open {address}" + (f"?token={token}" if token else ""))
    config = uvicorn.Config(
        app, http=TimedProtocol, ws="none", log_level="error", timeout_keep_alive=15, limit_concurrency=1024,
        backlog=WAITING, server_header=False, h11_max_incomplete_event_size=64 * 1024,
    )  # fmt: skip
    with contextlib.closing(opened), contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(config).run(sockets=[listening])


def _fast(polyglot: Polyglot, precision: str | None, threads: int | None) -> Polyglot:
    """Let the texts go through onnxruntime, unless told otherwise; by default only where it is installed and can."""
    if precision == TORCH or polyglot.encoder.device.type != "cpu":
        return polyglot
    try:
        return with_onnx(polyglot, precision=precision or "float32", threads=threads, cache=user_cache())
    except (MissingExtraError, ModelError) as error:
        if precision is not None:
            raise
        note(f"{error.what}; texts go through torch, which is slower")
        return polyglot


def _bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SettingError: the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, else asyncio leaves Nagle on
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(WAITING)  # whoever comes between the printed address and the first answer waits
    except OSError as error:
        listening.close()
        raise SettingError(
            f"cannot listen on {host}, port {port} ({error.strerror})", fix="Choose another --port (0 for a free one)."
        ) from error
    return listening
