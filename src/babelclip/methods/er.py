"""Experience replay and dark experience replay (papers 2.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from babelclip.methods.base import NONE, Step, Task, Trained
from babelclip.methods.memory import image_keys
from babelclip.methods.replay import Replay, distance


@dataclass
class ER(Replay):
    """Each step also sees as many texts of the memory as the batch has, drawn to their English teacher vectors.

    L_cl + 0.01 L_cm on the batch, and weight (1/(M d)) sum ||f(m) - z(m)||^2 on the memory's texts. The released code
    takes L_cm over the mixed batch, in which memory texts are both queries and candidates; ``as-released`` does the
    same, and, as it does, counts after each task one more use n_i of the tokens of each language in the memory, so that
    with ``teir`` the scale of old tokens falls faster than the definition says. It also offers every text again in each
    epoch, which only changes how the reservoir is filled, and is not followed.

    Attributes:
        memory: texts that are kept at most.
        weight: of the term.
        variant: ``defined`` or ``as-released``.
    """

    weight: float = 1.0
    variant: str = "defined"

    name = "er"
    idea = "Texts of earlier languages are kept and trained on again, drawn to the English teacher."
    paper = "Chaudhry et al., 2019 (ER); as compared in Yang et al., AAAI 2024"
    equation = "weight mean ||f(m) - z(m)||^2"

    def __post_init__(self) -> None:
        """Refuse a negative weight and unknown variants."""
        super().__post_init__()
        self.check_number("weight", at_least=0)
        self.check_variant(self.variant)

    def before_task(self, task: Task) -> None:
        """Also note which images the task shares with the memory."""
        super().before_task(task)
        self._uses = self._memory.used_by_language() if self.variant == "as-released" else []
        self._keys = NONE if task.examples is None else image_keys(task.examples.files)

    def more_uses(self, task: Task) -> list[Tensor]:
        """Return, as released, the ids of each language that was in the memory during the task."""
        return self._uses

    def loss_terms(self, task: Task, step: Step) -> dict[str, Tensor]:
        """Return the memory's distance to its targets; as released, also what the mixed batch changes in L_cm."""
        found = self.replay(step)
        if found is None:
            return {}
        samples, vectors = found
        terms = {"memory": self.weight * distance(samples, vectors)}
        if self.variant == "as-released" and step.cross_modal:
            keys = torch.cat([self._keys[step.image_ids.cpu()], samples.image_keys]).to(vectors.device)
            images = torch.cat([step.images, samples.images.to(step.images)])
            mixed = step.compare(torch.cat([step.texts, vectors]), images, keys)
            terms["mixed"] = step.cross_modal * (mixed - step.compare(step.texts, step.images, step.image_ids))
        return terms


@dataclass
class DER(ER):
    """As ``er``, but a memory text is drawn to the student's own vector of it, taken when its language was learnt.

    The vectors are those of the finished task, with the weights that were kept. The released code stores them in the
    middle of training, at any of three epochs, of weights that are partly thrown away, and offers every text once an
    epoch; that is not followed, also not as released: such targets belong to no model that anyone has.

    Attributes:
        memory: texts that are kept at most.
        weight: of the term.
        variant: ``defined`` or ``as-released``, which mixes the batch in L_cm and counts as for ``er``.
    """

    name = "der"
    idea = "Texts of earlier languages are kept, and are to keep the vectors that they had when they were learnt."
    paper = "Buzzega et al., NeurIPS 2020 (DER); as compared in Yang et al., AAAI 2024"
    equation = "weight mean ||f(m) - f_then(m)||^2"

    def targets(self, task: Task, trained: Trained) -> Tensor:
        """Return the student's vectors of the finished task."""
        return trained.vectors()
