"""What a benchmark run is: a checked TOML file of data sets, orders, methods and seeds.

    base = "openai/clip-vit-base-patch16"
    languages = ["en", "it", "de"]           # or nothing: all that every data set has
    lexicon = "own"                          # or a multilingual language model, a folder or hub id (docs/mla.md)
    orders = ["order222", "seed7"]           # also "as-given", or lists of tags
    methods = ["cll", "cll+teir"]
    frames = 12                              # how many stand for a video
    seeds = [0, 1, 2]

    [train]
    dataset = "mscoco36"

    [[test]]
    dataset = "crossmodal3600"
    captions = "first"

    [settings]
    epochs = 3

A data set lies in ``DATA_ROOT/NAME``, or where the run's ``--folder NAME=DIR`` says.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from babelclip.config import PAPER, TaskSettings, change_settings, recipe_for
from babelclip.encoders import FRAMES
from babelclip.errors import SettingError, UnknownNameError
from babelclip.languages import LANGUAGES, normalise_tag
from babelclip.methods import compose

ORDERS = ("as-given", "order222", "seedN")
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """A data set, one of its splits, and how it is used."""

    dataset: Text
    split: str = "test"
    captions: Literal["all", "first"] = "all"
    folds: int = Field(default=1, ge=1)

    @property
    def name(self) -> str:
        """What results call it: ``mscoco36 test 5 folds``."""
        parts = [self.dataset, self.split]
        parts += ["first captions"] if self.captions == "first" else []
        parts += [f"{self.folds} folds"] if self.folds > 1 else []
        return " ".join(parts)


class Train(Source):
    """Training texts.

    ``validation`` names the split that chooses the best epoch (the papers' rule); ``texts`` is how many of a language
    are learnt from at most, drawn at random.
    """

    split: str = "train"
    validation: str = ""
    texts: Annotated[int, Field(ge=2)] | None = None


class Plan(_Strict):
    """A benchmark run."""

    base: Text
    train: Train
    test: list[Source] = Field(min_length=1)
    languages: list[str] = []
    orders: list[str | list[str]] = Field(default=["as-given"], min_length=1)
    methods: list[str] = Field(default=["cll", "cll+teir"], min_length=1)
    lexicon: Text = "own"
    lexicon_width: Annotated[int, Field(ge=1)] | None = None
    frames: Annotated[int, Field(ge=1)] = FRAMES
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    incremental: bool = True
    settings: dict[str, int | float | str] = {}

    def check_sources(self) -> None:
        """Refuse what a test may not be.

        Raises:
            SettingError: one stands twice, or chooses the epochs too.
        """
        names = [source.name for source in self.test]
        for source in self.test:
            if names.count(source.name) > 1:
                raise SettingError(f"test has {source.name!r} twice", fix="Name each once.")
            if (source.dataset, source.split) == (self.train.dataset, self.train.validation):
                raise SettingError(
                    f"train.validation is {self.train.validation!r}, which is tested on: {source.name!r}",
                    fix="Choose the epoch with another split.",
                )

    def check_lexicon(self) -> None:
        """Refuse a width of rows where no other words are used.

        Raises:
            SettingError: there is one.
        """
        if self.lexicon == "own" and self.lexicon_width is not None:
            raise SettingError(
                f"lexicon_width is {self.lexicon_width}, but lexicon is 'own', the base model's words",
                fix="Name a lexicon too (--lexicon FOLDER), or leave the width away.",
            )

    def task_settings(self) -> TaskSettings:
        """Return the settings of a task: the base model's recipe with the plan's changes.

        Raises:
            SettingError: a value cannot work, or ``seed`` is among them.
            UnknownNameError: there is no such setting.
        """
        if "seed" in self.settings:
            raise SettingError("[settings] seed has no meaning here", fix="Use seeds = [0, 1, 2].")
        usual = recipe_for(self.base) if self.base == "pictoclip" else PAPER
        return change_settings(usual, [f"{name}={value}" for name, value in self.settings.items()])


def read_plan(file: Path, changes: dict[str, Any] | None = None) -> Plan:
    """Read a plan.

    Args:
        file: the TOML file.
        changes: keys of the top level to replace.

    Raises:
        SettingError: it is not TOML, or a key or value cannot be used; names file, key and value.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot be read ({error.strerror})", file=file, fix="Correct the path.") from error
    except ValueError as error:  # also of the encoding
        raise SettingError(f"not TOML: {error}", file=file, fix="docs/benchmark.md shows a whole one.") from error
    return make_plan(content | (changes or {}), file)


def make_plan(content: Mapping[str, Any], file: Path | None = None) -> Plan:
    """Check a plan; ``file`` is where it came from, for messages.

    Raises:
        SettingError: a key or value cannot be used.
        UnknownNameError: there is no such key.
    """
    try:
        plan = Plan.model_validate(content)
        settings = plan.task_settings()
        plan.check_sources()
        plan.check_lexicon()
        for method in plan.methods:
            stack = compose(method)
            stack.refuse(plan.settings)
            stack.stages(settings)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = [*Plan.model_fields] if len(problem["loc"]) == 1 else [*Train.model_fields]
            raise UnknownNameError("key", key.rpartition(".")[2], known, file=file) from error
        raise SettingError(f"{key}: {problem['msg']}", file=file, fix="docs/benchmark.md lists the keys.") from error
    except (SettingError, UnknownNameError) as error:
        raise SettingError(error.what, file=file, fix=error.fix) from error
    return plan


def order_languages(order: str | list[str], languages: list[str]) -> list[str]:
    """Put languages in an order.

    Args:
        order: ``as-given``; ``order222``, the papers' order of 36 languages, others behind; ``seedN``, shuffled like it
            by another seed, with English first; or tags.
        languages: tags of the stream.

    Raises:
        SettingError: a list misses or adds languages.
        UnknownNameError: there is no such order.
    """
    if isinstance(order, list):
        tags = [normalise_tag(tag) for tag in order]
        if sorted(tags) != sorted(languages):
            missing, added = sorted(set(languages) - set(tags)), sorted(set(tags) - set(languages))
            raise SettingError(
                f"the order {tags} does not fit the languages: missing {missing}, not among them {added}",
                fix="Name each language of the stream once.",
            )
        return tags
    if order == "as-given":
        return list(languages)
    number = 222 if order == "order222" else int(order[4:]) if re.fullmatch(r"seed\d+", order) else None
    if number is None:
        raise UnknownNameError("order", order, ORDERS)
    if order == "order222":
        ranked = shuffle_languages(sorted(LANGUAGES), number)
        return [tag for tag in ranked if tag in languages] + [tag for tag in languages if tag not in ranked]
    return shuffle_languages(sorted(languages), number)


def shuffle_languages(tags: list[str], seed: int) -> list[str]:
    """Return tags shuffled as the papers do: Python's ``random`` with a seed, then English in front.

    Seed 222 on the 36 languages of Crossmodal-3600 in alphabetical order is the papers' ``order222``.
    """
    shuffled = list(tags)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda tag: tag != "en")
