"""Ranks by counting, recalls with chance level and intervals, transfer metrics, and the results format."""

from babelclip.evaluation.bootstrap import bootstrap_intervals
from babelclip.evaluation.recall import CUTS, METRICS, RANKS, chance_scores, retrieval_scores
from babelclip.evaluation.results import (
    SEEN,
    Base,
    Cost,
    Data,
    Results,
    Run,
    read_results,
    summarise_run,
    write_results,
)
from babelclip.evaluation.transfer import VARIANTS, forward_transfer, summarise

__all__ = [
    "CUTS", "METRICS", "RANKS", "SEEN", "VARIANTS", "Base", "Cost", "Data", "Results", "Run",
    "bootstrap_intervals", "chance_scores", "forward_transfer", "read_results", "retrieval_scores", "summarise",
    "summarise_run", "write_results",
]  # fmt: skip
