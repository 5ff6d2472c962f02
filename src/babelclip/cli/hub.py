"""The work of ``babelclip pull`` and ``babelclip push``."""

from __future__ import annotations

from pathlib import Path

from babelclip.cli.console import console, note, program, quieten
from babelclip.encoders.hub import HubName
from babelclip.errors import SettingError
from babelclip.hub import prepare, pull, upload, write_shipment
from babelclip.packs import is_polyglot


def run_pull(model: str, *, revision: str | None, out: Path | None, offline: bool, base: str | None) -> None:
    """Fetch or check, and say what there is; arguments as for ``pull``."""
    quieten()
    found = pull(model, revision=revision, out=out, offline=offline, base=base)
    for name, size in found.files.items():
        console.print(f"{size:>14,}  {name}")
    what = f"packs of {', '.join(found.packs)}" if found.packs else "complete"
    console.print(f"{model}: {what}, {sum(found.files.values()) / 1e6:,.1f} MB in {found.folder}")
    if found.commit is not None:
        repository = (HubName.read(model) or HubName(model)).repository
        console.print(f"commit {found.commit}; {repository}@{found.commit} names this very state")
    if found.packs:
        if not found.checked:
            note("hashes and contents are right; installing compares them with their base model (or give --base)")
        if not is_polyglot(Path(found.folder)):
            console.print(f"Nothing is installed. Next:\n  {program()} pack install {found.folder} --into FOLDER")
    elif found.reasons:
        note(f"languages cannot be taught to it: {'; '.join(found.reasons)}")


def run_push(
    folder: Path, repo: str, *, revision: str | None, yes: bool, public: bool, to_folder: Path | None, licence: str,
    results: Path | None, message: str,
) -> None:  # fmt: skip
    """Show what would be uploaded; with ``yes`` upload it, with ``to_folder`` write it there.

    Raises:
        SettingError: both are asked for.
    """
    if yes and to_folder is not None:
        raise SettingError("--yes and --to-folder are both given", fix="Look at the folder first, then say --yes.")
    shipment = prepare(folder, repo, licence=licence, results=results)
    for name, size, digest in shipment.listing():
        console.print(f"{size:>14,}  {digest}  {name}")
    console.print(f"\n{shipment.card}")
    for one in shipment.missing:
        note(f"the card lacks: {one}")
    if to_folder is not None:
        write_shipment(shipment, to_folder)
        console.print(f"Written to {to_folder}; nothing was uploaded.")
    elif yes:
        address = upload(shipment, revision=revision, public=public, message=message)
        console.print(f"Uploaded: {address}")
    else:
        seen = "for all to see" if public else "private"
        console.print(f"Nothing was uploaded. With --yes these {len(shipment.files)} files go to {repo}, {seen}.")
