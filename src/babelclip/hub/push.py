"""Upload what was learnt to a hub, or write the same to a folder; by default nothing is uploaded."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from babelclip.encoders.hub import HubName, reaching
from babelclip.errors import FormatError, SettingError
from babelclip.evaluation import Results, read_results
from babelclip.files import new_folder, sha256
from babelclip.hub.card import what_is_missing, write_hub_card
from babelclip.hub.cargo import README, Cargo, gather
from babelclip.hub.paths import refuse_places

RESULTS = "results.json"


@dataclass(frozen=True)
class Shipment:
    """What would be uploaded.

    Attributes:
        repository: ``owner/name``.
        cargo: what it is.
        files: name -> a file, or its content; the card among them.
        card: README.md.
        missing: what its readers would look for and not find.
    """

    repository: str
    cargo: Cargo
    files: Mapping[str, Path | bytes]
    card: str
    missing: tuple[str, ...]

    def listing(self) -> list[tuple[str, int, str]]:
        """Return name, bytes and sha256 of every file."""
        return [
            (name, len(one), hashlib.sha256(one).hexdigest()) if isinstance(one, bytes)
            else (name, one.stat().st_size, sha256(one))
            for name, one in sorted(self.files.items())
        ]  # fmt: skip


def prepare(folder: Path, repository: str, *, licence: str = "", results: Path | None = None) -> Shipment:
    """Gather what would be uploaded, check it, and write its card; nothing leaves this machine.

    Args:
        folder: an exported folder, a folder of packs, a pack's folder or file.
        repository: ``owner/name``.
        licence: of all of it; by default what the packs say.
        results: a results file whose scores go into the card; by default ``results.json`` in the folder.

    Raises:
        SettingError: it is none of these, it holds what must not leave, or the repository is no ``owner/name``.
        FormatError: it is damaged, or the results are of another base model.
    """
    name = HubName.read(repository)
    if name is None or name.revision is not None:
        raise SettingError(f"{repository!r} is no repository", fix="Write --repo owner/name.")
    cargo = gather(folder, repository)
    beside = folder / RESULTS
    found = _read_results(beside if results is None and beside.is_file() else results, cargo)
    card = write_hub_card(cargo, repository, licence=licence, results=found)
    files = {**cargo.files, README: card.encode()}
    refuse_places(files, folder)
    return Shipment(repository, cargo, files, card, tuple(what_is_missing(cargo, licence, found)))


def _read_results(file: Path | None, cargo: Cargo) -> Results | None:
    if file is None:
        return None
    results = read_results(file / RESULTS if file.is_dir() else file)
    if results.base.fingerprint != cargo.fingerprint:
        raise FormatError(
            f"the scores are of the base model {results.base.fingerprint[:12]}, what is pushed is for "
            f"{cargo.fingerprint[:12]}",
            file=file, fix="Give the results of this base model, or none.",
        )  # fmt: skip
    if not any(tag in cargo.languages for run in results.runs for tag in run.order):
        raise FormatError(
            f"the scores are of none of {', '.join(cargo.languages)}", file=file, fix="Give other results, or none."
        )
    return results


def write_shipment(shipment: Shipment, out: Path) -> None:
    """Write to a new folder what would be uploaded.

    Raises:
        SettingError: the folder holds something.
        BabelclipError: the disk is full or the place cannot be written to.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out} exists and is not empty", fix="Choose a new folder; nothing is overwritten.")
    with new_folder(out) as place:
        _fill(shipment, place)


def upload(shipment: Shipment, *, revision: str | None = None, public: bool = False, message: str = "") -> str:
    """Upload; the repository is made where there is none, and other files in it stay.

    Args:
        shipment: what.
        revision: branch; made from the default branch where there is none.
        public: for all to see; else only for its owner.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        SettingError: the repository is public already, and that was not asked for.
        ModelError: the hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api, repository = HfApi(), shipment.repository
    name = HubName(repository, revision)
    languages = ", ".join(shipment.cargo.languages)
    with reaching(name, "write it to"), tempfile.TemporaryDirectory() as place:
        _fill(shipment, Path(place))
        api.create_repo(repository, private=not public, exist_ok=True)
        seen = not api.model_info(repository).private
        if seen and not public:
            raise SettingError(f"{repository} is there and public", fix="Say --public, or push to another repository.")
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=place, revision=revision,
            commit_message=message or f"{languages}, written by babelclip for {shipment.cargo.kind}",
        )  # fmt: skip
    return str(done.commit_url)


def _fill(shipment: Shipment, place: Path) -> None:
    for name, content in shipment.files.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
