"""What the two papers report, as data: to stand beside what we measure.

``published.json`` holds the figures of CLL-CLIP with TEIR and of all methods that its paper compares (AAAI 2024), and
of MLA (NeurIPS 2022), one row for each set of figures. They were taken from result files and logs that the authors made
public, and partly from the papers; we measured none of them. docs/published.md lists the tables and keys.

``evidence`` says how well a row is known:

* ``log``: it was read in a result file or an evaluation log of the authors;
* ``code``: it was read in their code;
* ``arithmetic``: it was remembered from the paper, and a calculation or a log agrees;
* ``remembered``: it was remembered from the paper, and nothing confirms it. Never cite it; ``find`` leaves it out.

A method has our name, as ``compose`` writes it: ``cll+er+teir``. Systems that are none of our methods (M-CLIP, plain
CLIP, M3P) have none. ``variant`` tells what differs from the plain method: one part of TEIR alone, another vocabulary,
another loss. ``mla`` is MLA as its own paper trains it, in two stages; ``cll+mla`` is the one-stage version that the
CLL-CLIP paper compares with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from babelclip.languages import LANGUAGES
from babelclip.methods.names import split_names

Percent = Annotated[float, Field(ge=0, le=100)]
Points = Annotated[float, Field(ge=-100, le=100)]
Dataset = Literal["mscoco36", "crossmodal3600", "multi30k", "mscoco1k", "mscoco5k", "coco-cn"]
Metric = Literal["img_r1", "img_r5", "img_r10", "txt_r1", "txt_r5", "txt_r10", "r_mean", "ar"]
Table = Literal[
    "main", "headline", "reference", "ablation", "curve", "own-language", "transfer-multi30k", "translate-test",
    "mla-zero-shot", "mla-ft-en", "mla-main",
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Strict):
    """A paper."""

    key: str
    title: str
    venue: str
    year: int
    arxiv: str


class Summary(_Strict):
    """A whole stream in four numbers, as in ``evaluation.transfer``; F and Fen are points and may be negative."""

    AA: Percent
    F: Points
    Fen: Points
    own: Percent


class Score(_Strict):
    """One number."""

    score: Percent


class Scores(_Strict):
    """Several numbers of one kind, None where the source has a hole, and their published mean if there is one.

    ``by`` says what the keys are: language tags, numbers of tasks learnt, weights of a score fusion, or folds.
    """

    by: Literal["language", "tasks", "weight", "fold"]
    scores: dict[str, Percent | None]
    mean: Percent | None = None

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        strangers = [key for key in self.scores if self.by == "language" and key not in LANGUAGES]
        if strangers:
            raise ValueError(f"scores has {strangers}, which are not languages of babelclip.languages")
        return self


class Row(_Strict):
    """One published figure set.

    Attributes:
        source: key of the paper.
        table: which group of figures.
        dataset: what was tested on.
        method: our name; None for systems that are none of our methods.
        label: the name in the source.
        variant: how it differs from the plain method, or None.
        protocol: image->text by single captions (``caption``) or by groups of them (``group``).
        order: order of the languages, for streams.
        base: the CLIP underneath.
        trained_on: training data.
        metric: as in ``evaluation``; ``ar`` is MLA's average recall: the formula of r_mean, protocol ``group``.
        values: the figures, in percent.
        evidence: how well they are known, see above.
        note: what to know before comparing.
    """

    source: str
    table: Table
    dataset: Dataset
    method: str | None = None
    label: str
    variant: str | None = None
    protocol: Literal["caption", "group"] | None = None
    order: str | None = None
    base: str | None = None
    trained_on: str | None = None
    metric: Metric
    values: Summary | Score | Scores
    evidence: Literal["log", "code", "arithmetic", "remembered"]
    note: str | None = None


class Published(_Strict):
    """The whole file."""

    format: Literal[1]
    version: str
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        known = {source.key for source in self.sources}
        seen = set()
        for row in self.rows:
            if row.source not in known:
                raise ValueError(f"a row has the source {row.source!r}, known are {sorted(known)}")
            by = row.values.by if isinstance(row.values, Scores) else None
            key = (row.table, row.dataset, row.label, row.variant, row.trained_on, row.metric, row.evidence, by)
            if key in seen:
                raise ValueError(f"two rows for {key}")
            seen.add(key)
        return self


def read_published() -> Published:
    """Read the file that is part of the package.

    Raises:
        pydantic.ValidationError: it was changed and is no longer what this module describes.
    """
    return Published.model_validate_json(files("babelclip.report").joinpath("published.json").read_bytes())


def find(
    *,
    dataset: str | None = None,
    method: str | None = None,
    metric: str | None = None,
    table: str | None = None,
    include_remembered: bool = False,
) -> list[Row]:
    """Return the rows that match everything given, in the order of the file; none if nothing does.

    Args:
        dataset: such as ``crossmodal3600``.
        method: our name, in any order: ``teir+cll`` finds ``cll+teir``. Variants are found too.
        metric: such as ``img_r1``.
        table: such as ``ablation``.
        include_remembered: also rows that nobody checked. Never cite them.
    """
    return [
        row
        for row in read_published().rows
        if (dataset is None or row.dataset == dataset)
        and (method is None or (row.method is not None and _parts(row.method) == _parts(method)))
        and (metric is None or row.metric == metric)
        and (table is None or row.table == table)
        and (include_remembered or row.evidence != "remembered")
    ]


def beside(dataset: str, metric: str, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the published AA, F, Fen and own of each method in the main table, keyed by the name that was given.

    Replay has the figures of its published memory of 8,000 texts, whatever memory is named.

    A name, data set or metric without published figures is absent. Rows by memory only never appear.
    """
    found = {_parts(row.method): row.values for row in find(dataset=dataset, metric=metric, table="main") if row.method}
    chosen = {name: found.get(_parts(as_published(name))) for name in methods}
    return {name: values.model_dump() for name, values in chosen.items() if isinstance(values, Summary)}


def as_published(method: str) -> str:
    """Return a sum of methods without the size of their memory, for which the papers have one of their own."""
    return "+".join(re.sub(r"\(memory=\d+\)$", "", name) for name in split_names(method, "+"))


def _parts(method: str) -> frozenset[str]:
    """The names in a sum of methods; their order changes nothing."""
    return frozenset(split_names(method, "+"))
