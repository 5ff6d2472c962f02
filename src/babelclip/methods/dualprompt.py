"""DualPrompt (Wang et al., ECCV 2022), as CLL-CLIP compares it (papers 2.9 and 2.14, item 8)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from babelclip.acquirers import Acquirer, DualPrompts
from babelclip.acquirers.dual import EXPERT, Chosen
from babelclip.encoders.insert import TowerShape
from babelclip.errors import SettingError
from babelclip.methods.base import Method, Step, Task


@dataclass
class DualPrompt(Method):
    """General prompts in layers 0 and 1, and in layers 2 to 4 one expert prompt a language, found by its keys.

    Half of a prompt are keys, half values. A key is pulled to the queries of its language's texts: the mean over texts
    and expert layers of 1 - cos(query, key). The query is the text's vector from the tower without prompts, whose token
    rows are those of now, as in CLL-CLIP's comparison; the original's queries come from a model that never changes.
    Such a model would be the base model here, and it cannot read what is yet to be learnt: it has no rows for a new
    language's tokens, and with its own tokens alone it gets the text in pieces of a few bytes. The price: later
    languages move the rows, and so the queries that earlier languages' keys were pulled to.

    A prompt stands only in layers that the tower has: of 4 layers, as in ``pictoclip``, expert prompts get 2 and 3. A
    tower of 2 layers has none for them, and is refused.

    The published code forgets layer 4, but divides by all three: there is no prompt in layer 4, and the pull is two
    thirds as strong. ``variant=as-released`` does the same.

    Attributes:
        general: length of a general prompt.
        length: length of an expert prompt.
        pull: weight of the pull.
        variant: ``defined`` or ``as-released``.
    """

    general: int = 2
    length: int = 16
    pull: float = 1.0
    variant: str = "defined"

    name = "dualprompt"
    idea = "General prompts for all texts and one expert prompt a language, which a text finds by its own vector."
    paper = "Wang et al., ECCV 2022 (DualPrompt); as compared in Yang et al., AAAI 2024"
    equation = "L + pull * mean(1 - cos(query, key))"

    def __post_init__(self) -> None:
        """Refuse lengths without halves, a negative weight and unknown variants."""
        for name in ("general", "length"):
            if getattr(self, name) < 2 or getattr(self, name) % 2:
                raise SettingError(f"dualprompt({name}={getattr(self, name)})", fix="It must be even, at least 2.")
        self.check_number("pull", at_least=0)
        self.check_variant(self.variant)

    @property
    def _last(self) -> int:
        """Last layer with expert prompts."""
        return EXPERT[1] - (self.variant == "as-released")

    def check_tower(self, shape: TowerShape) -> None:
        """Refuse a tower in which no language would get a prompt of its own."""
        if shape.layers <= EXPERT[0]:
            raise SettingError(
                f"dualprompt has its expert prompts in layers {EXPERT[0]} to {self._last}, and the last of the text "
                f"tower's {shape.layers} layers is {shape.layers - 1}: no language would get a prompt of its own",
                fix=f"Take coda, whose prompts begin in layer 0, or a base model of {EXPERT[0] + 1} or more layers.",
            )

    def acquirer(self, shape: TowerShape) -> Acquirer:
        """Return the prompts."""
        return DualPrompts(shape, general=self.general, length=self.length, last=self._last)

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the pull; none where the tower is too low for expert prompts."""
        pull = next(insert.pull for insert in step.inserts if isinstance(insert, Chosen))
        if pull is None:
            return {}
        layers = pull.shape[1] if self.variant == "defined" else EXPERT[1] - EXPERT[0] + 1
        return {"pull": self.pull * step.gather(pull).sum(dim=1).mean() / layers}
