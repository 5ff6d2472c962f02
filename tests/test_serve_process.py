"""The server as a process: its address, its end, kills, and clients that do not get on."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import re
import signal
import socket
import threading
import time

import pytest
from PIL import Image

from babelclip import TaskSettings
from babelclip.data.examples import base_lexicon
from babelclip.errors import SettingError
from babelclip.packs import Polyglot, learn_pack, save_pack
from babelclip.packs.installed import begin_folder
from babelclip.search.index import index_folders
from babelclip.search.open import open_store

pytest.importorskip("fastapi", reason="the server needs the extra [serve]")
pytest.importorskip("uvicorn", reason="the server needs the extra [serve]")

import uvicorn

from babelclip.cli.place import Place
from babelclip.cli.serve import _bind, run_serve
from babelclip.search.web import protocol
from serving import Kills, count_rows, files_of, kill_index, kill_server, serving, still_works


@pytest.fixture(scope="module")
def indexed(tiny, captions, tmp_path_factory):
    """An index of 24 pictures."""
    place = str(tmp_path_factory.mktemp("served") / "index")
    with contextlib.closing(open_store(place)) as store:
        index_folders([captions], store, lambda: tiny, note=lambda _: None)
    return place


@pytest.fixture(scope="module")
def pack_files(tiny, captions, tmp_path_factory):
    """Packs of German and Russian for the tiny model."""
    quick = TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-3)
    files = []
    for tag in ("de", "ru"):
        pack, _ = learn_pack(Polyglot(tiny, base_lexicon(tiny)), tag, captions / f"{tag}.tsv", settings=quick)
        files.append(tmp_path_factory.mktemp("packs") / f"{tag}.babelpack")
        save_pack(pack, files[-1])
    return files


def test_it_answers_at_its_address_and_ctrl_c_ends_it(indexed, tiny_folder, tmp_path):
    with serving(indexed, tiny_folder, tmp_path / "log") as server:
        assert server.token is None
        assert server.ask("/health")[1]["items"] == 24
        status, answer = server.ask("/search?q=a+red+square&k=3")
        assert (status, len(answer["results"])) == (200, 3)
        with socket.create_connection(server.place) as idle, socket.create_connection(server.place) as half:
            half.sendall(b"GET /hea")
            assert server.end(signal.SIGINT) == 0
            assert (idle.recv(10), half.recv(10)) == (b"", b"")
        assert "Traceback" not in server.printed
        assert "forgotten when it ends" in server.printed


def test_beyond_this_machine_it_makes_a_token(indexed, tiny_folder, monkeypatch, capsys):
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: sockets[0].close())
    place = Place(indexed, str(tiny_folder), "cpu")
    run_serve(place, host="0.0.0.0", port=0, token=None, threads=None, precision="torch")
    printed = capsys.readouterr()
    assert "beyond this machine a token is needed; this one was made" in printed.err
    assert re.search(r"Open http://\S+:\d+/\?token=\S{20,}\n", printed.out)
    run_serve(place, host="0.0.0.0", port=0, token="s3cret", threads=None, precision="torch")
    assert capsys.readouterr().out.endswith("/?token=s3cret\n")
    run_serve(place, host="127.0.0.1", port=0, token=None, threads=None, precision="torch")
    assert "token" not in capsys.readouterr().out


def test_a_port_that_is_taken_and_an_address_of_another_machine(indexed, tiny_folder):
    place = Place(indexed, str(tiny_folder), "cpu")
    with _bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"cannot listen on 127\.0\.0\.1, port {port} .*another --port"):
            run_serve(place, host="127.0.0.1", port=port, token=None, threads=None, precision="torch")
    with pytest.raises(SettingError, match=r"cannot listen on 192\.0\.2\.1"):
        _bind("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_small_answers_are_sent_at_once(host):
    """asyncio switches Nagle's algorithm off only where a socket says that it speaks TCP."""
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with _bind(host, 0) as listening:
            assert listening.proto == socket.IPPROTO_TCP
    except SettingError as error:
        pytest.skip(str(error))


def test_killed_at_random_moments_no_pack_and_no_row_is_lost(indexed, tiny, pack_files, tmp_path):
    begin_folder(tmp_path / "my", tiny)
    told, chance = Kills(), random.Random()
    for _ in range(2):
        kill_server(indexed, tmp_path / "my", pack_files, tmp_path / "log", chance, 1.0, told)
    assert (told.lost, told.wrong) == ([], [])
    assert still_works(indexed, tmp_path / "my")


def test_a_killed_indexer_goes_on(tiny, tiny_folder, tmp_path):
    place, store, chance = tmp_path / "pictures", str(tmp_path / "index"), random.Random()
    place.mkdir()
    for number in range(300):
        Image.effect_noise((64, 64), 50 + number).save(place / f"{number}.png")
    known: set[str] = set()
    for _ in range(2):
        kill_index(place, store, tiny_folder, chance, 0.3)
        before, known = known, files_of(store) if count_rows(store) else set()
        assert before <= known
    with contextlib.closing(open_store(store)) as opened:
        index_folders([place], opened, lambda: tiny, note=lambda _: None)
    assert len(files_of(store)) == count_rows(store) == 300


async def answer(scope, receive, send):
    """``/slow`` after a second, ``/long`` more than anybody reads."""
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    body = b"x" * (50_000_000 if scope["path"] == "/long" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def slow_server(monkeypatch):
    """A server in a thread whose limits are short."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "END_SECONDS", 0.5)
    config = uvicorn.Config(
        answer, http=protocol.TimedProtocol, lifespan="off", log_level="error", timeout_keep_alive=1
    )
    server, listening = uvicorn.Server(config), _bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield listening.getsockname(), server, thread
    server.should_exit = True
    thread.join(20)


def closed_after(connection):
    """Seconds until the server has closed a connection."""
    started = time.monotonic()
    connection.settimeout(20)
    with contextlib.suppress(ConnectionError):
        while connection.recv(1000):
            continue
    return time.monotonic() - started


def test_nobody_holds_a_connection_by_sending_nothing(slow_server):
    place = slow_server[0]
    for begun in (b"", b"GET /sea", b"GET / HTTP/1.1\r\nhost: a\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /se"):
        with socket.create_connection(place) as connection:
            connection.sendall(begun)
            assert 0.3 < closed_after(connection) < 10, begun
    with socket.create_connection(place) as connection:  # a drop now and then buys no time
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 10:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - started < 10


def test_who_waits_for_an_answer_is_not_cut_off(slow_server):
    with contextlib.closing(http.client.HTTPConnection(*slow_server[0], timeout=20)) as connection:
        for _ in range(2):
            connection.request("GET", "/slow")
            with connection.getresponse() as answer:
                assert (answer.status, len(answer.read()) > 0) == (200, True)


def test_a_client_that_reads_nothing_does_not_keep_it_from_ending(slow_server):
    place, server, thread = slow_server
    with socket.create_connection(place) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
        connection.recv(10)
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()
