"""Ranks by counting, recalls with their chance level, transfer metrics, and the results format."""

from babelclip.evaluation.recall import CUTS, METRICS, chance_scores, retrieval_scores
from babelclip.evaluation.results import Base, Cost, Data, Results, Run, read_results, write_results
from babelclip.evaluation.transfer import summarise

__all__ = [
    "CUTS", "METRICS", "Base", "Cost", "Data", "Results", "Run", "chance_scores", "read_results", "retrieval_scores",
    "summarise", "write_results",
]  # fmt: skip
