"""A hub in this process: the few endpoints that huggingface_hub asks of one, over HTTP on a free port of this machine.

A repository is a list of commits, each a dictionary of files; branches and tags point at one of them.
"""

import base64
import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Repository:
    """One repository."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    proposals: list[dict] = field(default_factory=list)

    def commit(self, files, ref="main", message="made for tests") -> str:
        """Add a commit; ``files``: a folder, or content by name."""
        if isinstance(files, Path):
            files = {one.relative_to(files).as_posix(): one.read_bytes() for one in files.rglob("*") if one.is_file()}
        digest = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[digest], self.refs[ref] = dict(files), digest
        self.messages.append(message)
        return digest

    def find(self, revision):
        """The commit of a branch, a tag or a commit."""
        return self.refs.get(revision, revision if revision in self.commits else None)


class FakeHub:
    """Repositories by name, and what was asked."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def add(self, name, files, **more) -> str:
        """Add a commit to a repository, which is made where there is none."""
        return self.repositories.setdefault(name, Repository()).commit(files, **more)

    def fetched(self) -> set[str]:
        """Names of files whose content was asked for."""
        return {one.split("/resolve/")[1].split("/", 1)[1] for one in self.asked if one.startswith("GET") and
                "/resolve/" in one}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path.startswith("/api/"):
            self._api(path.split("/")[2:], content)
        else:
            self._file(path)

    def _file(self, path):
        name, rest = path[1:].split("/resolve/")
        repository = self.hub.repositories.get(name)
        found = [ref for ref in (*repository.refs, *repository.commits) if rest.startswith(f"{ref}/")]
        commit = repository.find(found[0])
        content = repository.commits[commit].get(rest.removeprefix(f"{found[0]}/"))
        if content is None:
            self._error(404, "EntryNotFound")
            return
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self._send(200, content[start:], {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit})

    def _api(self, parts, content):
        if parts == ["validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif parts == ["repos", "create"]:
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private", asked.get("visibility") == "private")
            known = name in self.hub.repositories
            made = self.hub.repositories.setdefault(name, Repository(private))
            if not known:
                made.commit({})
            self._json({"url": f"{self.hub.url}/{name}", "name": name}, 409 if known else 200)
        else:
            self._models("/".join(parts[1:3]), parts[3:], content)

    def _models(self, name, parts, content):
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._error(404, "RepoNotFound")
            return
        kind, revision = (parts[0] if parts else "revision"), "/".join(parts[1:]) or "main"
        if kind == "discussions":
            self._json({"discussions": repository.proposals, "count": len(repository.proposals), "start": 0})
            return
        if kind == "branch":
            repository.refs[revision] = repository.refs["main"]
            self._json({})
            return
        commit = repository.find(revision)
        if commit is None:
            known = kind == "tree" and repository.find(revision.split("/")[0]) is not None
            self._error(404, "EntryNotFound" if known else "RevisionNotFound")
            return
        files = repository.commits[commit]
        if kind == "tree":
            self._json([{"type": "file", "path": path, "size": len(one), "oid": hashlib.sha1(one).hexdigest()}
                        for path, one in files.items()])  # fmt: skip
        elif kind == "preupload":
            asked = json.loads(content)["files"]
            self._json({"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                                  for one in asked]})  # fmt: skip
        elif kind == "commit":
            header, *rest = (json.loads(line) for line in content.splitlines())
            new = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in rest}
            made = repository.commit({**files, **new}, ref=revision, message=header["value"]["summary"])
            self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made})
        else:
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": [],
                        "private": repository.private})  # fmt: skip

    def _json(self, found, status=200):
        self._send(status, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _error(self, status, code):
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status, content, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def fake_hub(cache: Path):
    """A hub that is asked for as long as the context lasts, with an empty cache."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    hub = FakeHub()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        disable_progress_bars()
        try:
            yield hub
        finally:
            enable_progress_bars()
            hub.server.shutdown()
            hub.server.server_close()
