"""A plan's data and base model for measurements that look inside a stream: the same arguments for all of them."""

from __future__ import annotations

import argparse
from pathlib import Path

from babelclip.benchmarks import DATASETS
from babelclip.benchmarks.plan import Plan, read_plan
from babelclip.benchmarks.prepare import Prepared, Where, prepare


def plan_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that takes a plan and where its data lies."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--base", help="in place of the plan's")
    parser.add_argument("--folder", default="", help="NAME=DIR")
    parser.add_argument("--image-vectors", default="", help="NAME=FILE")
    return parser


def open_plan(options: argparse.Namespace, *, languages: int | None = None) -> tuple[Plan, Prepared]:
    """Read and prepare a plan, of its first languages alone if so many are given."""
    plan = read_plan(options.plan, {"base": options.base} if options.base else {})
    plan = plan.model_copy(update={"languages": plan.languages[:languages]})
    folders, vectors = (
        {name: Path(place) for name, _, place in [given.partition("=")] if name}
        for given in (options.folder, options.image_vectors)
    )
    where = Where(options.data_root, folders=folders, image_vectors=vectors, device="cpu")
    return plan, prepare(plan, where, DATASETS)
