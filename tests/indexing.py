"""Pictures to index, and a base model that counts what it looks at."""

from __future__ import annotations

from PIL import Image

from babelclip.search.index import index_folders

COLOURS = ("red", "green", "blue", "white", "black", "yellow", "brown", "pink")


def write_pictures(folder):
    """Eight pictures in two folders."""
    for number, colour in enumerate(COLOURS):
        file = folder / ("a" if number % 2 else "b") / f"{colour}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30), 20 + 9 * number).convert("RGB").save(file)
        Image.blend(Image.open(file), Image.new("RGB", (40, 30), colour), 0.8).save(file)
    return folder


class Counting:
    """A base model that counts what goes through its image tower."""

    def __init__(self, encoder):
        self.encoder, self.seen = encoder, 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def encode_pixels(self, pixels):
        self.seen += len(pixels)
        return self.encoder.encode_pixels(pixels)


def run(place, store, model, **options):
    return index_folders([place], store, lambda: model, note=lambda _: None, **options)


def rows_of(store):
    return {file.path: file for file in store.files()}
