"""Modules in a tiny tower, and the tower run place by place; for tests."""

from __future__ import annotations

import itertools
import math

import torch
from torch.nn.functional import layer_norm, linear
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

from babelclip.acquirers import Acquirers, Projection
from babelclip.data.examples import base_lexicon
from babelclip.encoders.tower import encode_batch, pad
from babelclip.methods import METHODS

TEXTS = ["ein quadrat", "a", "ein kleines feld an einer wand", "weiß", "a red square", "ein feld in blau", "ein feld"]
LANGUAGES = ["de", "ru", None, "de", "xx", "ru", "ru"]


def write_deep(tiny_folder, place):
    """The tiny model with six layers, so that prompts have all of theirs."""
    config = CLIPConfig.from_pretrained(tiny_folder)
    config.text_config.num_hidden_layers = 6
    torch.manual_seed(1)
    model = CLIPModel(config)
    for weights in model.text_model.parameters():
        weights.data += 0.05 * torch.randn_like(weights)  # biases too, which start at 0
    model.save_pretrained(place)
    for file in tiny_folder.iterdir():
        if not (place / file.name).exists():
            (place / file.name).write_bytes(file.read_bytes())
    return place


def make_kind(name, shape):
    """A kind of modules as its method makes it; the projection, which is no method's, of rows of the tower's width."""
    return Projection(shape, shape.width) if name == "projection" else METHODS[name]().acquirer(shape)


def begun(encoder, *names, languages=("de", "ru"), noise=0.1):
    """Modules of some kinds, moved away from where they start."""
    chance, kinds = torch.Generator().manual_seed(5), {}
    for name in names:
        kinds[name] = make_kind(name, encoder.text_tower.shape)
        for language in languages:
            kinds[name].begin(language, encoder, chance)
        for tensor in itertools.chain(*(one.values() for one in kinds[name].modules.values())):
            tensor.add_(noise * torch.randn(tensor.shape, generator=chance))
    return Acquirers(kinds)


def encode(encoder, modules, texts, languages, *, training=False):
    """Vectors and inserts of one batch, with the base model's rows."""
    ids = pad(base_lexicon(encoder).encode(texts), encoder.frame.eos)
    return encode_batch(encoder, encoder.token_table, ids, encoder.frame.eos, modules, languages, training=training)


def slow_vector(encoder, text, prefixes=None):
    """One text through the tower: place by place, head by head; ``prefixes``: layer -> keys, values (P, width)."""
    shape, weights = encoder.text_tower.shape, encoder.text_tower.weights()
    weights = {name: tensor.double() for name, tensor in weights.items()}
    size = shape.width // shape.heads

    def affine(name):
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def norm(states, name):
        return layer_norm(states, states.shape[-1:], *affine(name), 1e-5)

    hidden = encoder.token_table[base_lexicon(encoder).encode([text])[0]].double()
    hidden = hidden + weights["positions"][: len(hidden)]
    for layer in range(shape.layers):
        query, key, value = linear(norm(hidden, f"{layer}.norm1"), *affine(f"{layer}.attention_in")).chunk(3, dim=1)
        before = (prefixes or {}).get(layer, (key[:0], value[:0]))
        mixed = torch.zeros_like(hidden)
        for head, place in itertools.product(range(shape.heads), range(len(hidden))):
            part = slice(head * size, (head + 1) * size)
            keys, values = (
                torch.cat([one.double(), own[: place + 1]])[:, part]
                for one, own in zip(before, (key, value), strict=True)
            )
            mixed[place, part] = (keys @ query[place, part] / math.sqrt(size)).softmax(0) @ values
        hidden = hidden + linear(mixed, *affine(f"{layer}.attention_out"))
        inner = linear(norm(hidden, f"{layer}.norm2"), *affine(f"{layer}.mlp_in"))
        hidden = hidden + linear(inner * (1.702 * inner).sigmoid(), *affine(f"{layer}.mlp_out"))
    return weights["projection"] @ norm(hidden[-1], "final_norm")


def text_model(folder):
    """The same text tower, as ``transformers`` has it."""
    whole = CLIPModel.from_pretrained(folder)
    whole.config.text_config.projection_dim = whole.config.projection_dim
    model = CLIPTextModelWithProjection(whole.config.text_config).eval()
    model.load_state_dict({key: one for key, one in whole.state_dict().items() if key.startswith("text")})
    return model


def assert_close(found, expected, tolerance=2e-6):
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance)
