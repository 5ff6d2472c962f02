"""What a task of a method trains and what is stored of it, for a text tower of CLIP B/32's shape.

Nothing is taken from a record: the modules are made, and the method is shown a made-up first language and asked what it
keeps of it.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from babelclip.acquirers.base import SHARED
from babelclip.config import PAPER
from babelclip.continual.record import bytes_of
from babelclip.encoders.frozen import FrozenTextTower
from babelclip.lexicon import Tokens
from babelclip.methods import Method, Task

WIDTH, LAYERS = 512, 12
ROWS, TEXTS, LETTERS = 10_000, 8_000, 50
"""Of the made-up language: rows that its texts use, none of which was there before; texts, and letters of each."""
LANGUAGES = 36
"""Of the stream, where a size depends on it: the papers'."""
NUMBER = 4
"""Bytes."""


def trained(method: Method) -> str:
    """Say in MB what the second or a later language trains: rows and modules, and which rows beside its own."""
    parts = [f"{_mb(ROWS * WIDTH * NUMBER)} for each language" if method.joint else _mb(ROWS * WIDTH * NUMBER)]
    own, shared = _modules(method)
    parts += [f"{_mb(own + shared)} modules"] if own + shared else []
    if method.needs_memory:
        parts.append("rows of the memory's texts")
    elif method.replays:
        parts.append("rows of the English sides")
    elif type(method).extra_rows is not Method.extra_rows:
        parts.append("rows of earlier languages")
    return " + ".join(parts)


def stored(method: Method) -> str:
    """Say in MB what a language adds to what is saved, and what is saved once for all languages together."""
    size = method.vocabulary_size(PAPER, LANGUAGES)
    rows = ROWS if size is None else size / LANGUAGES
    parts = [_mb(rows * WIDTH * (2 if method.isolated else NUMBER))]
    (own, shared), kept = _modules(method), _kept(method)
    parts += [f"{_mb(own)} modules"] if own else []
    parts += [f"{_mb(kept)} kept"] if kept and not method.needs_memory else []
    once = [f"{_mb(shared)} modules"] if round(shared / 1e6, 1) else []
    once += [f"{_mb(kept)} memory"] if kept and method.needs_memory else []
    return " + ".join(parts) + "".join(f"; once {one}" for one in once)


def _mb(count: float) -> str:
    return f"{count / 1e6:.1f}"


def _modules(method: Method) -> tuple[int, int]:
    """Bytes of a language's own modules, and of those that all share."""
    encoder = _clip_tower()
    kind = method.acquirer(encoder.text_tower.shape)
    if kind is None:
        return 0, 0
    kind.begin("xx", encoder, torch.Generator())
    return bytes_of(kind.modules.get("xx", {})), bytes_of(kind.modules.get(SHARED, {}))


@lru_cache
def _clip_tower() -> Any:
    """A text tower of CLIP B/32's shape with random weights."""
    config = CLIPTextConfig(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=8, intermediate_size=2048,
        projection_dim=WIDTH, vocab_size=8, bos_token_id=6, eos_token_id=7,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).requires_grad_(False)
    tower = FrozenTextTower(model.text_model, model.text_projection)
    return SimpleNamespace(text_tower=tower, device=torch.device("cpu"))


def _kept(method: Method) -> int:
    """Bytes of what a method remembers after a first language in which every row moved by 1 along its gradient."""
    rows, vectors = torch.zeros(ROWS, WIDTH), torch.zeros(TEXTS, WIDTH)
    parameter = rows.clone().requires_grad_()
    parameter.grad = -torch.ones_like(rows)
    task: Any = _task(vectors)
    step: Any = SimpleNamespace(row_ids=task.used, parameters={"rows": parameter}, start={"rows": rows})
    done: Any = SimpleNamespace(
        row_ids=task.used, parameters={"rows": rows + 1}, start={"rows": rows}, vectors=lambda: vectors,
        batches=lambda: iter([None]), gradients=lambda batch: {"rows": rows + 1}, last_weights=nullcontext,
    )  # fmt: skip
    method.before_task(task)
    method.gradient_terms(task, step)
    method.after_task(task, done)
    return bytes_of(method.state_dict())


def _task(vectors: Tensor) -> Task:
    """A first task, in English so that nothing is read of the base model, whose texts use each of its rows once."""
    tokens = Tokens(torch.arange(ROWS, dtype=torch.int32), torch.arange(TEXTS + 1) * ROWS // TEXTS)
    lexicon: Any = SimpleNamespace(
        table=torch.zeros(1, 1).expand(ROWS, WIDTH), uses=torch.ones(ROWS), frame=SimpleNamespace(specials=[0, 1]),
        tokenizer=lambda: None,
    )  # fmt: skip
    examples: Any = SimpleNamespace(
        languages=("en",), texts=["x" * LETTERS] * TEXTS, files=[Path(str(number)) for number in range(TEXTS)],
        owner=torch.arange(TEXTS), images=vectors, teachers=vectors, tags=lambda: ["en"] * TEXTS,
        by_language=lambda: iter([("en", slice(0, TEXTS))]),
    )  # fmt: skip
    return Task("en", 0, lexicon, tokens.used(), examples=examples, tokens=tokens)
