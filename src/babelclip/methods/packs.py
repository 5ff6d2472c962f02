"""Language packs in a benchmark stream: every language by itself, from the base model (docs/packs.md)."""

from __future__ import annotations

from dataclasses import dataclass

from babelclip.methods.base import Method


@dataclass
class Packs(Method):
    """Each language is learnt alone, straight from the base model, with its own copies of the rows that its texts use.

    In a stream no language can change another, so F is 0 by construction; the base model's own language is not learnt
    at all. ``packs+mla`` learns each pack with other methods. In a single task it is plain training in which rows that
    no text uses do not decay. The language of each text is told; ``packs-routed`` finds it out.
    """

    name = "packs"
    idea = "Every language alone, with rows of its own; told the language of each text."
    paper = "babelclip (docs/packs.md)"
    equation = "E_t,i = theta_t,i where i in T_t, else E_base,i"
    needs_language = True
    isolated = True

    def wishes(self) -> dict[str, object]:
        """Ask that idle rows stay the base model's."""
        return {"idle_decay": False}


@dataclass
class RoutedPacks(Packs):
    """The same packs, where the router finds the language of each text among those installed so far.

    It knows the training texts of the installed packs and nothing else; texts that it is not sure of are blended from
    the two best languages (docs/routing.md). What it loses against ``packs`` is the price of not being told.
    """

    name = "packs-routed"
    idea = "Every language alone, with rows of its own; the language of each text is found out."
    equation = "f_t(y) of the likeliest t; where p_t < 0.9, unit vectors mixed: (p_t u_t + p_s u_s) / (p_t + p_s)"
    needs_language = False
