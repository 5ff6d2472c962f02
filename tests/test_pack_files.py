"""Packs from strangers: whatever is in the file, it is refused with one clear error, and nothing is written."""

import hashlib
import io
import json
import random
import runpy
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

import babelclip
from babelclip.data.examples import base_lexicon
from babelclip.errors import BabelclipError, FormatError
from babelclip.packs import Polyglot, learn_pack, load_card, load_pack, save_pack
from babelclip.packs.container import CARD, LIMITS, MODULES, ROWS, VOCABULARY
from babelclip.packs.store import pack_files


@pytest.fixture(scope="module")
def base(tiny):
    return base_lexicon(tiny)


@pytest.fixture(scope="module")
def files(tiny, base, examples):
    quick = babelclip.TaskSettings(vocab_size=400, batch_size=8, epochs=1, learning_rate=1e-2, idle_decay=False)
    return pack_files(learn_pack(Polyglot(tiny, base), "de", examples["de"], method="mla", settings=quick)[0])


def zipped(files, *, compression=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in files.items() if isinstance(files, dict) else files:
            opened.writestr(name, content)
    return buffer.getvalue()


def resealed(files, **changes) -> dict[str, bytes]:
    """The same with some files changed, and the card's hashes as if they had always been so."""
    files = {**files, **{name: content for name, content in changes.items() if content is not None}}
    card = json.loads(files[CARD])
    for name, content in files.items():
        if name != CARD:
            card["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {**files, CARD: json.dumps(card).encode()}


def with_card(files, **changes) -> dict[str, bytes]:
    return {**files, CARD: json.dumps({**json.loads(files[CARD]), **changes}).encode()}


def with_words(files, change) -> dict[str, bytes]:
    words = json.loads(files[VOCABULARY])
    change(words)
    return resealed(files, **{VOCABULARY: json.dumps(words).encode()})


def with_tensors(files, name, change) -> dict[str, bytes]:
    tensors = load(files[name])
    change(tensors)
    return resealed(files, **{name: save({key: one.contiguous() for key, one in tensors.items()})})


def long_header(files) -> dict[str, bytes]:
    header = b"{" + b" " * (2 * 2**20) + b"}"
    return resealed(files, **{ROWS: struct.pack("<Q", len(header)) + header})


HOSTILE = {
    "a byte of a file": (
        lambda f: {**f, ROWS: f[ROWS][:-1] + bytes([f[ROWS][-1] ^ 1])},
        "sha256 .* it was damaged or changed",
    ),
    "a file too few": (lambda f: {name: one for name, one in f.items() if name != MODULES}, "but pack.json lists"),
    "no card": (lambda f: {name: one for name, one in f.items() if name != CARD}, "no pack.json in it"),
    "a newer format": (lambda f: with_card(f, format=2), "has format 2, this babelclip reads 1"),
    "an unknown key": (lambda f: with_card(f, colour="red"), "colour: Extra inputs"),
    "a tag that is a path": (lambda f: with_card(f, language="../../de"), "language: .*not a language tag"),
    "a tag written else": (lambda f: with_card(f, language="DE"), "'DE' is written 'de'"),
    "other modules": (lambda f: with_card(f, modules={}), "modules are"),
    "unknown modules": (lambda f: with_card(f, modules={"bottle": {}}), "unknown kind of modules 'bottle'"),
    "shared modules": (lambda f: with_card(f, modules={"full": {}}), "full has modules that languages share"),
    "huge modules": (lambda f: with_card(f, modules={"mla": {"inner": 10**9}}), "options that no tower of width 32"),
    "odd options": (lambda f: with_card(f, modules={"mla": {"inner": 4, "colour": 1}}), "unexpected keyword"),
    "modules of another width": (lambda f: with_card(f, modules={"mla": {"inner": 4}}), "not of the shape"),
    "a token twice": (lambda f: with_words(f, lambda w: w["tokens"].append(w["tokens"][0])), "stands twice"),
    "a token too many": (lambda f: with_words(f, lambda w: w["tokens"].append("qqqq")), "rows for"),
    "a base token": (lambda f: with_words(f, lambda w: w["tokens"].__setitem__(0, "<|endoftext|>")), "stands twice"),
    "a merge of nothing": (lambda f: with_words(f, lambda w: w["merges"].append(["zz", "yy"])), "of unknown tokens"),
    "an empty token": (lambda f: with_words(f, lambda w: w["tokens"].append("")), "vocabulary.json: "),
    "merges as numbers": (lambda f: with_words(f, lambda w: w["merges"].append([1, 2])), "vocabulary.json: "),
    "no JSON": (lambda f: resealed(f, **{VOCABULARY: b"\xff{"}), "vocabulary.json: "),
    "deep JSON": (lambda f: resealed(f, **{VOCABULARY: b"[" * 100_000}), "vocabulary.json: "),
    "ids out of range": (
        lambda f: with_tensors(f, ROWS, lambda t: t["ids"].__setitem__(-1, 2**31 - 1)),
        "ids are not sorted",
    ),
    "ids not sorted": (lambda f: with_tensors(f, ROWS, lambda t: t.update(ids=t["ids"].flip(0))), "ids are not sorted"),
    "ids as floats": (lambda f: with_tensors(f, ROWS, lambda t: t.update(ids=t["ids"].float())), "the ids are"),
    "rows of another type": (
        lambda f: with_tensors(f, ROWS, lambda t: t.update(rows=t["rows"].float())),
        "expected \\(R, width\\) float16",
    ),
    "rows that are not finite": (lambda f: with_tensors(f, ROWS, lambda t: t["rows"].fill_(torch.inf)), "not finite"),
    "rows too narrow": (lambda f: with_tensors(f, ROWS, lambda t: t.update(rows=t["rows"][:, :5])), "5 wide"),
    "no rows": (lambda f: with_tensors(f, ROWS, lambda t: t.pop("rows")), "cannot be read"),
    "int8 without scales": (
        lambda f: with_tensors(with_card(f, rows="int8"), ROWS, lambda t: t.update(rows=t["rows"].to(torch.int8))),
        "cannot be read",
    ),
    "a long header": (long_header, "has a header of 2,097,154 bytes"),
    "cut tensors": (lambda f: resealed(f, **{ROWS: f[ROWS][:200]}), "cannot be read"),
    "four bytes": (lambda f: resealed(f, **{MODULES: b"abcd"}), "has a header of"),
    "modules that are not finite": (
        lambda f: with_tensors(f, MODULES, lambda t: next(iter(t.values())).fill_(torch.nan)),
        "not finite",
    ),
    "modules of nothing": (
        lambda f: with_tensors(f, MODULES, lambda t: t.update({"lora/x": torch.zeros(2)})),
        "belongs to no kind",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_wrong_inside_is_named(tiny, base, files, tmp_path, what):
    change, message = HOSTILE[what]
    pack = tmp_path / "x.babelpack"
    pack.write_bytes(zipped(change(dict(files))))
    with pytest.raises(BabelclipError, match=message):
        load_pack(pack, tiny, base)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.babelpack"]


def test_the_whole_file_is_accepted_as_it_was(tiny, base, files, tmp_path):
    (tmp_path / "x.babelpack").write_bytes(zipped(files))
    assert pack_files(load_pack(tmp_path / "x.babelpack", tiny, base)) == files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"../evil.py": b"x"}, "'../evil.py' is in it, which no pack has"),
        ({"/etc/passwd": b"x"}, "'/etc/passwd' is in it"),
        ({"C:\\evil": b"x"}, "is in it"),
        ({"sub/": b""}, "'sub/' is in it"),
        ([(CARD, b"{}"), (CARD, b"{}")], "pack.json is in it twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_with_odd_names_are_refused(tmp_path, content, message):
    (tmp_path / "x.babelpack").write_bytes(zipped(content))
    with pytest.raises(FormatError, match=message):
        load_card(tmp_path / "x.babelpack")


def test_bombs_are_refused_before_they_grow(files, tmp_path):
    pack = tmp_path / "x.babelpack"
    pack.write_bytes(zipped({**files, ROWS: bytes(50 * 2**20)}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(FormatError, match="rows.safetensors has 52,428,800 bytes in .* no real pack"):
        load_card(pack)
    pack.write_bytes(zipped({VOCABULARY: b" " * (60 * 2**20)}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(FormatError, match="vocabulary.json has 62,914,560 bytes in"):
        load_card(pack)
    pack.write_bytes(zipped({**files, CARD: b" " * (LIMITS[CARD] + 1)}))
    with pytest.raises(FormatError, match="at most 4,194,304 are read"):
        load_card(pack)
    # a header that lies about the size: what is read is what the header says, and the checksum then fails
    lying = bytearray(zipped({**files, CARD: b" " * 1000}))
    at = lying.rindex(b"PK\x01\x02")
    while lying[at + 46 : at + 46 + len(CARD)] != CARD.encode():
        at = lying.rindex(b"PK\x01\x02", 0, at)
    lying[at + 20 : at + 28] = struct.pack("<II", 10, 10)
    pack.write_bytes(bytes(lying))
    with pytest.raises(FormatError, match="not a whole zip file"):
        load_card(pack)


def test_folders_hold_ordinary_files_only(files, tmp_path):
    folder = tmp_path / "de"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    load_card(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FormatError, match="'notes.txt' is in it"):
        load_card(folder)
    (folder / "notes.txt").unlink()
    (folder / ROWS).rename(tmp_path / ROWS)
    (folder / ROWS).symlink_to(tmp_path / ROWS)
    with pytest.raises(FormatError, match="rows.safetensors is not an ordinary file"):
        load_card(folder)
    with pytest.raises(FormatError, match="there is no such pack"):
        load_card(tmp_path / "none")
    (tmp_path / "x.babelpack").write_bytes(b"no zip at all")
    with pytest.raises(FormatError, match="not a whole zip file"):
        load_card(tmp_path / "x.babelpack")


def test_a_full_disk_leaves_nothing_behind(tiny, base, files, tmp_path, monkeypatch):
    pack = tmp_path / "x.babelpack"
    pack.write_bytes(zipped(files))
    found = load_pack(pack, tiny, base)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for name in ("y.babelpack", "y"):
        with pytest.raises(BabelclipError, match="No space left"):
            save_pack(found, tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.babelpack"]


def test_random_damage_never_passes_for_a_pack(tiny, base, files, tmp_path):
    """A short run of ``bench/fuzz_packs.py``, which does 100,000."""
    chance, whole, pack = random.Random(0), zipped(files), tmp_path / "x.babelpack"
    damage = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "fuzz_packs.py"))["damage"]
    refused = 0
    for _ in range(400):
        pack.write_bytes(damage(whole, files, chance))
        try:
            assert pack_files(load_pack(pack, tiny, base)).keys() == files.keys()
        except BabelclipError as error:
            refused += bool(error.fix)
    assert refused > 300
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.babelpack"]
