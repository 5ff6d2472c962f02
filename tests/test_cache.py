"""What is computed once: vectors by content, tokens by text and tokenizer; on disk, checked, and never in the way."""

import errno
import os
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from babelclip.data import Cache, Teacher, read_captions, user_cache
from babelclip.data.examples import base_lexicon
from babelclip.data.features import FeatureStore, content_key
from babelclip.errors import BabelclipError, DataError, FormatError, UnknownNameError
from babelclip.lexicon import Wish

KEYS = [content_key(bytes([i])) for i in range(10)]
VECTORS = torch.arange(30, dtype=torch.float32).view(10, 3) / 7


@pytest.mark.parametrize("folder", [True, False], ids=["disk", "memory"])
def test_vectors_come_back_from_all_shards_in_any_order(tmp_path, folder):
    store = FeatureStore(tmp_path if folder else None, "images")
    store.add(KEYS[:4], VECTORS[:4])
    store.add(KEYS[4:6], VECTORS[4:6])
    assert store.missing([KEYS[7], KEYS[0], KEYS[7], KEYS[6]]) == [KEYS[7], KEYS[6]]
    if folder:
        store = FeatureStore(tmp_path, "images")
        assert FeatureStore(tmp_path, "texts").missing(KEYS[:1]) == KEYS[:1]
    features = store.features([KEYS[5], KEYS[0], KEYS[5], KEYS[3]])
    assert len(features) == 4
    assert torch.equal(features[:], VECTORS[[5, 0, 5, 3]])
    assert torch.equal(features[torch.tensor([3, 0])], VECTORS[[3, 5]])


def test_vectors_of_another_base_model_are_not_taken(tmp_path):
    Cache(tmp_path).features("a" * 64, "texts").add(KEYS, VECTORS)
    assert Cache(tmp_path).features("b" * 64, "texts").missing(KEYS) == KEYS
    assert Cache(tmp_path, dtype="float16").features("a" * 64, "texts").missing(KEYS) == KEYS
    assert Cache(tmp_path).features("a" * 64, "texts").missing(KEYS) == []


def test_what_another_process_adds_is_found(tmp_path):
    early, other = FeatureStore(tmp_path, "images"), FeatureStore(tmp_path, "images")
    other.add(KEYS[:4], VECTORS[:4])
    assert early.missing(KEYS[:5]) == KEYS[4:5]
    assert torch.equal(early.features(KEYS[:4])[:], VECTORS[:4])
    early.add(KEYS[4:5], VECTORS[4:5])
    assert other.missing(KEYS[:5]) == []
    assert torch.equal(other.features([KEYS[4], KEYS[0]])[:], VECTORS[[4, 0]])


def test_what_another_process_wrote_in_the_meantime_stays(tmp_path):
    """All that open the store later read the vector that was there first, whatever the shards are called."""
    first, second = FeatureStore(tmp_path, "images"), FeatureStore(tmp_path, "images")
    first.add(KEYS[:2], VECTORS[:2])
    second.add(KEYS[:3], VECTORS[:3] + 1)
    for store in (first, second, FeatureStore(tmp_path, "images")):
        assert store.missing(KEYS[:3]) == []
        assert torch.equal(store.features(KEYS[:2])[:], VECTORS[:2])
    second.add(KEYS[:3], VECTORS[:3] + 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_float16_halves_the_store_and_rounds(tmp_path):
    sizes = {}
    for dtype in ("float32", "float16"):
        store = Cache(tmp_path, dtype=dtype).features("f" * 64, "texts")
        store.add(KEYS, VECTORS.repeat(1, 200))
        sizes[dtype] = sum(file.stat().st_size for file in tmp_path.rglob(f"{dtype}/*"))
    torch.testing.assert_close(store.features(KEYS)[:], VECTORS.repeat(1, 200), rtol=1e-3, atol=0)
    assert store.features(KEYS)[:].dtype == torch.float32
    assert sizes["float16"] < 0.55 * sizes["float32"]
    with pytest.raises(UnknownNameError, match="unknown dtype of the cache 'float8'"):
        Cache(None, dtype="float8")


def test_damage_is_found_and_the_way_out_works(tmp_path):
    store = FeatureStore(tmp_path, "images")
    store.add(KEYS, VECTORS)
    (shard,) = tmp_path.iterdir()
    whole = shard.read_bytes()
    for broken in (whole[:-9], whole[:-1] + b"\x55"):
        shard.write_bytes(broken)
        with pytest.raises(FormatError, match=r"images-.*damaged: sha256 is .* its name says .*Delete the file"):
            FeatureStore(tmp_path, "images")
    shard.unlink()
    assert FeatureStore(tmp_path, "images").missing(KEYS) == KEYS


def test_a_second_process_encodes_nothing_again_and_a_copied_picture_is_known(tiny, captions, tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    first = Teacher(tiny, cache).prepare(read_captions(captions / "de.tsv", "de"))
    monkeypatch.setattr(type(tiny), "encode_images", lambda *_, **__: pytest.fail("encoded again"))
    monkeypatch.setattr("babelclip.data.examples.encode_tokens", lambda *_, **__: pytest.fail("encoded again"))
    copied = shutil.copytree(captions, tmp_path / "copied")
    again = Teacher(tiny, Cache(tmp_path / "cache")).prepare(read_captions(copied / "ru.tsv", "ru"))
    assert torch.equal(again.images[:], first.images[:])
    assert torch.equal(again.teachers[:], first.teachers[:])
    monkeypatch.undo()
    Image.new("RGB", (20, 20), "orange").save(copied / "0-0.png")
    changed = Teacher(tiny, Cache(tmp_path / "cache")).prepare(read_captions(copied / "ru.tsv", "ru"))
    differs = (changed.images[:] != first.images[:]).any(dim=1)
    assert differs.tolist() == [True] + [False] * 23
    (copied / "0-1.png").unlink()
    with pytest.raises(DataError, match=r"0-1\.png: the picture cannot be read \(No such file"):
        Teacher(tiny, cache).encode_images([copied / "0-1.png"])


def test_progress_counts_new_pictures_over_all_chunks(tiny, captions, monkeypatch):
    monkeypatch.setattr("babelclip.data.examples.CHUNK", 3)
    seen = []
    teacher = Teacher(tiny)
    corpus = read_captions(captions / "de.tsv", "de")
    teacher.prepare(corpus, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 8), (6, 8), (8, 8)], "24 files, 8 of them different"
    teacher.prepare(corpus, lambda *_: pytest.fail("nothing is new"))


def test_tokens_are_kept_by_text_and_tokenizer(tiny, tmp_path, monkeypatch):
    lexicon, cache = base_lexicon(tiny), Cache(tmp_path)
    texts = ["красный дом", "", "собака"]
    first = cache.tokens(lexicon.tokenizer(), texts)
    with monkeypatch.context() as patch:
        patch.setattr("babelclip.data.cache.tokenise", lambda *_: pytest.fail("cut again"))
        again = Cache(tmp_path).tokens(lexicon.tokenizer(), texts)
    assert list(again) == list(first)
    assert Cache(None).tokens(lexicon.tokenizer(), texts).ids.equal(first.ids)
    cache.tokens(lexicon.tokenizer(), [*texts, "x"])
    lexicon.grow("ru", texts * 9, Wish(400), initialiser="normal", generator=torch.Generator())
    assert list(cache.tokens(lexicon.tokenizer(), texts)) != list(first)
    files = sorted((tmp_path / "tokens").iterdir(), key=os.path.getmtime)
    assert len(files) == 3
    files[0].write_bytes(save({"ids": torch.zeros(2)}))
    with pytest.raises(FormatError, match=r"damaged .*Delete the file; the texts will be tokenised again"):
        cache.tokens(base_lexicon(tiny).tokenizer(), texts)
    content = bytearray(files[1].read_bytes())
    content[-1] ^= 1
    files[1].write_bytes(content)
    with pytest.raises(FormatError, match=r"damaged: sha256 is \w{12}, expected"):
        cache.tokens(base_lexicon(tiny).tokenizer(), [*texts, "x"])


def test_the_cache_can_be_moved_and_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("BABELCLIP_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache().folder == tmp_path / "xdg" / "babelclip"
    monkeypatch.setenv("BABELCLIP_CACHE", str(tmp_path / "own"))
    assert user_cache().folder == tmp_path / "own"
    assert user_cache("off").folder is None
    assert user_cache(str(tmp_path)).folder == tmp_path
    monkeypatch.setenv("BABELCLIP_CACHE", "off")
    assert user_cache().folder is None


def test_a_full_disk_says_how_to_move_the_cache(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = FeatureStore(tmp_path, "images")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BabelclipError, match=r"No space left on device\)\. Free some space, move the cache \(--cache"):
        store.add(KEYS, VECTORS)
    assert not list(tmp_path.iterdir())
