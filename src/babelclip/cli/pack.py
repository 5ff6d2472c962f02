"""The work of ``babelclip pack ...``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from babelclip.cli.console import console, program, quieten
from babelclip.continual import load
from babelclip.data import Cache, Corpus, read_captions
from babelclip.data.examples import base_lexicon
from babelclip.encoders import DualEncoder, load_encoder
from babelclip.errors import ModelError, SettingError
from babelclip.export.pack_files import METHOD
from babelclip.languages import language_name, normalise_tag
from babelclip.lexicon import Lexicon
from babelclip.packs import (
    Pack,
    PackCard,
    install_pack,
    is_polyglot,
    list_installed,
    load_card,
    load_pack,
    load_polyglot,
    make_pack,
    remove_pack,
    save_pack,
)
from babelclip.packs.card import DataCard
from babelclip.packs.container import SUFFIX
from babelclip.packs.installed import base_of, check_new, pack_files_of
from babelclip.packs.pack import Profiles
from babelclip.packs.verify import verify_polyglot
from babelclip.report.terminal import new_table


def run_build(
    model: Path, language: str, out: Path, *, data: Path | None, rows: str, licence: str, base: str | None,
    device: str | None,
) -> None:  # fmt: skip
    """Take a language out of a shared lexicon."""
    quieten()
    tag = normalise_tag(language)
    corpus = None if data is None else read_captions(data, tag)
    student = load(model, base=base, device=device, cache=Cache(None))
    pack = make_pack(
        student.encoder, base_lexicon(student.encoder), student.learnt, tag, method=METHOD,
        rows=rows, profiles=None if corpus is None else _profiles(corpus),
    )  # fmt: skip
    update: dict[str, object] = {"licence": licence}
    if corpus is not None:
        pictures = len({caption.image for caption in corpus.captions})
        update["data"] = DataCard(
            name=corpus.source.name, fingerprint=corpus.fingerprint, texts=len(corpus.captions), pictures=pictures
        )
    pack = replace(pack, card=pack.card.model_copy(update=update))
    save_pack(pack, out)
    console.print(f"Written to {out}: {_describe(pack)}")
    if corpus is None:
        console.print("note: without --data its language cannot be recognised; it must be said for each text")


def _profiles(corpus: Corpus) -> Profiles:
    texts, english = ([getattr(one, name) for one in corpus.captions] for name in ("text", "english"))
    return Profiles.learn(texts, english, file=corpus.source)


def run_install(
    paths: Sequence[Path], into: Path, *, replace: bool = False, new: bool = False, base: str | None,
    device: str | None,
) -> None:  # fmt: skip
    """Check all packs, then write them one by one."""
    quieten()
    if new and into.exists():
        raise SettingError(f"--out {into} exists", fix="Choose a new folder; nothing is overwritten.")
    files = [file for path in paths for file in pack_files_of(path)]
    if not files:
        raise SettingError(f"there is no pack in {', '.join(map(str, paths))}", fix="Give packs or folders of packs.")
    encoder = _encoder(base, [into, *paths], files[0], device)
    lexicon = base_lexicon(encoder)
    packs = list(_load_all(files, encoder, lexicon))
    if not replace:
        check_new(into, [pack.language for pack in packs])
    for pack in packs:
        install_pack(into, pack, encoder, replace=replace)
        console.print(f"Installed in {into}: {_describe(pack)}")
    console.print(f"{into} now answers in {', '.join(['en', *list_installed(into)])}. English has not changed.")


def _encoder(base: str | None, places: Sequence[Path], pack: Path, device: str | None) -> DualEncoder:
    """The base model: as given, as the first folder of packs says, or as a pack calls it."""
    named = next((base_of(place) for place in places if is_polyglot(place)), None)
    name = base or named or load_card(pack).base.name
    try:
        return load_encoder(name, device=device)
    except ModelError as error:
        raise ModelError(
            f"the base model {name!r} cannot be loaded: {error.what}", fix="Say where it lies: --base FOLDER."
        ) from error


def _load_all(files: Sequence[Path], encoder: DualEncoder, base: Lexicon) -> Iterator[Pack]:
    """Load packs; each language once."""
    found: dict[str, Path] = {}
    for file in files:
        pack = load_pack(file, encoder, base)
        if pack.language in found:
            raise SettingError(
                f"{found[pack.language]} and {file} are both for {pack.language!r}", fix="Give one of them."
            )
        found[pack.language] = file
        yield pack


def run_list(folder: Path) -> None:
    """One line a language."""
    cards = list_installed(folder)
    table = new_table(f"{folder}: {base_of(folder)}, English and {len(cards)} more")
    for name in ("tag", "language", "method", "texts", "test img_r10", "routed", "MB", "licence"):
        table.add_column(name, justify="left" if name in ("tag", "language", "method", "licence") else "right")
    for tag, card in cards.items():
        scores = card.metrics[-1].scores if card.metrics else {}
        score = f"{scores['img_r10']:.1f}" if "img_r10" in scores else "-"
        table.add_row(
            tag, language_name(tag), card.method, f"{card.data.texts:,}", score,
            "yes" if "profiles.safetensors" in card.files else "no", f"{_megabytes(card):.2f}", card.licence,
        )  # fmt: skip
    console.print(table)


def run_remove(folder: Path, language: str) -> None:
    """Delete one file."""
    remove_pack(folder, language)
    console.print(
        f"Removed {normalise_tag(language)} from {folder}, which now answers in "
        f"{', '.join(['en', *list_installed(folder)])}"
    )


def run_show(path: Path, *, as_json: bool) -> None:
    """Print the card.

    Raises:
        SettingError: it is a folder of packs.
    """
    if is_polyglot(path):
        pack = next(iter(pack_files_of(path)), path / f"LANGUAGE{SUFFIX}")
        raise SettingError(
            f"{path} is a folder of packs, not one pack",
            fix=f"Say {program()} pack list {path}, or {program()} pack show {pack}.",
        )
    card = load_card(path)
    if as_json:
        console.print_json(card.model_dump_json())
        return
    table = new_table(str(path), header=False)
    table.add_column("")
    table.add_column("")
    facts = {
        "language": f"{language_name(card.language)} ({card.language})",
        "base model": f"{card.base.name} {card.base.fingerprint[:12]}",
        "method": card.method,
        "data": f"{card.data.name or 'not said'}, {card.data.texts:,} texts, {card.data.pictures:,} pictures",
        "rows": card.rows,
        "modules": ", ".join(card.modules) or "none",
        "recognised": "yes" if "profiles.safetensors" in card.files else "no, its language must be said",
        "licence": card.licence or "not said",
        "note": card.note,
        **{name: f"{one.bytes / 1e6:.2f} MB, sha256 {one.sha256[:12]}" for name, one in card.files.items()},
        "in all": f"{_megabytes(card):.2f} MB",
    }
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    for one in card.metrics:
        for metric in ("img_r1", "img_r10", "txt_r10"):
            before = f" (base model {one.before[metric]:.1f})" if metric in one.before else ""
            score = f"{one.scores[metric]:.1f} % of {one.pictures:,} pictures" if metric in one.scores else "-"
            table.add_row(f"{one.data} {metric}", f"{score}{before}")
    console.print(table)


def run_verify(path: Path, *, base: str | None, device: str | None) -> None:
    """Check everything and say what was checked."""
    quieten()
    polyglot = load_polyglot(path, base=base, device=device)
    for line in verify_polyglot(polyglot):
        console.print(line)
    more = f" Next:\n  {program()} pack list {path}" if is_polyglot(path) else ""
    console.print(f"{path} is whole.{more}")


def _describe(pack: Pack) -> str:
    return (
        f"{language_name(pack.language)} ({pack.language}), {len(pack.rows):,} rows as {pack.card.rows}, "
        f"{len(pack.vocabulary.tokens):,} of them new tokens"
    )


def _megabytes(card: PackCard) -> float:
    return sum(file.bytes for file in card.files.values()) / 1e6
