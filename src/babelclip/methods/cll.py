"""CLL-CLIP: train the token rows, freeze everything else, do nothing against forgetting. The base of all others."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.methods.base import Method


@dataclass
class CLL(Method):
    """Plain continual fine-tuning: new rows from N(0, 0.02^2), AdamW with decay on every row of the table."""

    name = "cll"
    idea = "Only token rows are trained, with the English model as teacher; nothing is done against forgetting."
    paper = "Yang et al., AAAI 2024 (CLL-CLIP)"
    equation = "L_cl + 0.01 L_cm"
