"""Models on a hub, named ``owner/name`` or ``owner/name@revision``: what is fetched, and what never is.

Only files at the top of a repository are fetched: weights in safetensors, ``SMALL`` ones, nothing else. So no pickle
and no code ever reaches this machine, whatever a config asks for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from babelclip.encoders.headers import INDEX, OPEN_CLIP_WEIGHTS, WEIGHTS, has_weights, no_weights
from babelclip.errors import BabelclipError, ModelError

SMALL = ("*.json", "*.txt", "*.model")
"""Files that are fetched beside weights: config, tokenizer, picture preparation, the list of the weights' parts."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt")
CONVERTER = "SFconvertbot"
"""Who opens the hub's branches with pickled weights converted to safetensors."""
_REPOSITORY, _REVISION = re.compile(r"[\w.-]+/[\w.-]+"), re.compile(r"[\w.+/-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubName:
    """A repository, and which of its states is meant.

    Attributes:
        repository: ``owner/name``.
        revision: a branch, a tag, or a commit's 40 digits; None for the hub's default branch.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def read(cls, name: str) -> HubName | None:
        """Take ``owner/name`` or ``owner/name@revision`` apart; None where it is no such name."""
        repository, at, revision = name.partition("@")
        if not _REPOSITORY.fullmatch(repository) or (at and not _REVISION.fullmatch(revision)):
            return None
        return None if repository.startswith(".") else cls(repository, revision or None)

    @property
    def fixed(self) -> bool:
        """Whether it can never mean anything else: its revision is a commit."""
        return self.revision is not None and bool(_COMMIT.fullmatch(self.revision))

    def __str__(self) -> str:
        """Write it as it is read."""
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def fetch_model(name: HubName, *, offline: bool = False, pictures: bool = True) -> Path:
    """Return the folder of a model's files in the hub's cache; what is not there yet is fetched.

    A commit that is cached whole is not asked for again. Where the hub cannot be reached, what is cached is used.

    Args:
        name: of the model; the folder is called as the commit that its revision is.
        offline: use what is cached, and ask nobody; so is it too where ``HF_HUB_OFFLINE`` is set.
        pictures: whether it must say how pictures are prepared; a language model does not.

    Raises:
        ModelError: there is no such repository or revision, it has no weights in safetensors, or something is not
            cached that would be needed; says what is missing.
    """
    if name.fixed and (cached := cached_folder(name)) is not None and not missing_files(cached, pictures=pictures):
        return cached
    with reaching(name):
        held = list_files(name, offline=offline)
        if held is not None:
            wanted = [*small_files(held.files), *weights_of(held.files, name)]
            cached = cached_folder(name)
            if cached is None or cached.name != held.commit or not all((cached / file).exists() for file in wanted):
                cached = fetch_files(name, wanted)
            return cached
    return _whole_in_cache(name, pictures=pictures)


def fetch_small(name: HubName) -> Path:
    """Return a folder with a model's small files, and with its weights only where they were there before.

    Raises:
        ModelError: it cannot be had.
    """
    with reaching(name):
        held = list_files(name)
        if held is not None:
            return fetch_files(name, small_files(held.files))
    folder = cached_folder(name)
    if folder is None:
        raise _not_cached(name)
    return folder


@dataclass(frozen=True)
class Held:
    """What a repository holds: the commit that its revision is, and the names of its files."""

    commit: str
    files: list[str]


def list_files(name: HubName, *, offline: bool = False) -> Held | None:
    """Return what a repository holds; None where the hub is not to be asked or cannot be reached.

    Raises:
        Exception: of the hub's client, for all that is not the connection; see ``reaching``.
    """
    from huggingface_hub import HfApi, is_offline_mode

    if offline or is_offline_mode():
        return None
    try:
        found = HfApi().model_info(name.repository, revision=name.revision)
        return Held(str(found.sha), [one.rfilename for one in found.siblings or ()])
    except Exception as error:
        if _is_connection(error):
            return None
        raise


def fetch_files(name: HubName, files: Sequence[str], *, offline: bool = False) -> Path:
    """Fetch files of a repository into the hub's cache, those that are not there; return the folder that holds them.

    Args:
        name: of the repository.
        files: their names.
        offline: ask nobody.

    Raises:
        Exception: of the hub's client; see ``reaching``.
    """
    from huggingface_hub import snapshot_download

    found = snapshot_download(
        name.repository, revision=name.revision, allow_patterns=list(files), local_files_only=offline
    )
    return Path(found)


def small_files(held: Sequence[str]) -> list[str]:
    """Return the small files at the top of a repository."""
    return [file for file in held if "/" not in file and any(fnmatch(file, kind) for kind in SMALL)]


@contextlib.contextmanager
def reaching(name: HubName, doing: str = "get it from") -> Iterator[None]:
    """Make an error of the hub's client one that says what is wrong and the way out.

    Args:
        name: what is asked for.
        doing: what is tried, for messages.

    Raises:
        ModelError: whatever went wrong on the way.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except BabelclipError:
        raise
    except GatedRepoError as error:
        what = f"{name.repository!r} is given only to those who have accepted its terms"
        raise ModelError(what, fix="Accept them on its page, then `hf auth login` on this machine.") from error
    except RevisionNotFoundError as error:
        what = f"{name.repository!r} has no revision {name.revision!r}"
        raise ModelError(what, fix="Give a branch, a tag, or all 40 digits of a commit, as its page says.") from error
    except RepositoryNotFoundError as error:
        what = f"there is no repository {name.repository!r} on the hub, or it is private"
        raise ModelError(what, fix="Check the id (owner/name); for a private one, `hf auth login`.") from error
    except Exception as error:  # the hub's client has kinds of its own for what can go wrong on the way
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        raise ModelError(
            f"{str(name)!r}: cannot {doing} the hub: {reason}",
            fix="Log in with the right to do so: `hf auth login`." if refused
            else "Check the id (owner/name) and the connection, or give a folder of the model.",
        ) from error  # fmt: skip


def weights_of(held: Sequence[str], name: HubName) -> list[str]:
    """Return the safetensors files that transformers or open_clip would take, and no other copies of the same.

    Raises:
        ModelError: there are none.
    """
    if WEIGHTS in held:
        return [WEIGHTS]
    if INDEX in held:
        return [file for file in held if fnmatch(file, "model-*.safetensors")]
    if OPEN_CLIP_WEIGHTS in held:
        return [OPEN_CLIP_WEIGHTS]
    error = no_weights(list(held), str(name))
    branch = _converted(name)
    if branch is not None:
        raise ModelError(
            error.what, file=error.file, fix=f"The hub's converter has written them as safetensors: {branch} names "
            "that branch. It is a proposal that the owner has not taken: compare it with what you know.",
        )  # fmt: skip
    raise error


def _converted(name: HubName) -> str | None:
    """The name of the newest open proposal of safetensors for a repository that has pickles alone."""
    from huggingface_hub import HfApi

    with contextlib.suppress(Exception):  # a hint: without it the error is complete
        found = HfApi().get_repo_discussions(
            name.repository, author=CONVERTER, discussion_type="pull_request", discussion_status="open"
        )
        numbers = [one.num for one in found if "safetensors" in one.title.lower()]
        if numbers:
            return f"{name.repository}@refs/pr/{max(numbers)}"
    return None


def cached_folder(name: HubName) -> Path | None:
    """Return the folder of a revision in the hub's cache, whole or not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name.repository, revision=name.revision, local_files_only=True, allow_patterns=[])
        )
    except LocalEntryNotFoundError:
        return None


def _whole_in_cache(name: HubName, *, pictures: bool) -> Path:
    folder = cached_folder(name)
    if folder is None:
        raise _not_cached(name)
    if missing := missing_files(folder, pictures=pictures):
        raise ModelError(
            f"{str(name)!r} is not cached whole, and the hub is not asked or cannot be reached: it lacks "
            f"{', '.join(missing)}",
            file=folder, fix=f"With a connection: babelclip pull {name}.",
        )  # fmt: skip
    return folder


def missing_files(folder: Path, *, pictures: bool = True) -> list[str]:
    """Return what a folder lacks to be a model's: config, weights, tokenizer and, where wanted, picture preparation."""
    from babelclip.encoders.facts import PREPARATION
    from babelclip.encoders.model_config import CONFIG, OPEN_CLIP_CONFIG

    found = [] if has_weights(folder) else [f"weights ({WEIGHTS})"]
    if (folder / OPEN_CLIP_CONFIG).is_file() and not (folder / CONFIG).is_file():
        return found
    kinds = {"config": (CONFIG,), "tokenizer": TOKENIZERS}
    kinds |= {"picture preparation": PREPARATION} if pictures else {}
    lacking = {kind: names[0] for kind, names in kinds.items() if not any((folder / one).is_file() for one in names)}
    return [*(f"{kind} ({name})" for kind, name in lacking.items()), *found]


def _not_cached(name: HubName) -> ModelError:
    return ModelError(
        f"{str(name)!r} is not in the hub's cache, and the hub is not asked or cannot be reached: config, weights, "
        "tokenizer and picture preparation are all missing",
        fix=f"With a connection: babelclip pull {name}. Without one: give a folder of the model.",
    )


def _is_connection(error: Exception) -> bool:
    """Whether the hub was not reached at all, or is out of order."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    names = {kind.__name__ for kind in type(error).__mro__}  # the client's library has changed its name once
    return bool(names & {"ConnectError", "TimeoutException", "OfflineModeIsEnabled"}) or (status or 0) >= 500
