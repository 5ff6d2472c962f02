"""The work of ``babelclip pull`` and ``babelclip push``."""

from __future__ import annotations

from pathlib import Path

from babelclip.cli.console import console, note, program, quieten
from babelclip.encoders.hub import HubName
from babelclip.hub import pull


def run_pull(model: str, *, revision: str | None, out: Path | None, offline: bool, base: str | None) -> None:
    """Fetch or check, and say what there is; arguments as for ``pull``."""
    quieten()
    found = pull(model, revision=revision, out=out, offline=offline, base=base)
    for name, size in found.files.items():
        console.print(f"{size:>14,}  {name}", markup=False)
    what = f"packs of {', '.join(found.packs)}" if found.packs else "complete"
    console.print(f"{model}: {what}, {sum(found.files.values()) / 1e6:,.1f} MB in {found.folder}", markup=False)
    if found.commit is not None:
        repository = (HubName.read(model) or HubName(model)).repository
        console.print(f"commit {found.commit}; {repository}@{found.commit} names this very state", markup=False)
    if found.packs:
        if not found.checked:
            note("hashes and contents are right; installing compares them with their base model (or give --base)")
        console.print(f"Nothing is installed. Next: {program()} pack install {found.folder} --into my", markup=False)
    elif found.reasons:
        note(f"languages cannot be taught to it: {'; '.join(found.reasons)}")
