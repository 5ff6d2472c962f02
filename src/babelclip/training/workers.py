"""The processes that train together, and the precision that the tower runs in.

Started as ``torchrun --nproc-per-node P -m babelclip learn ...``, P processes share every batch: each encodes its part
of the texts, the vectors are put together, and every process sees the whole loss, with all negatives of the batch.
The result is that of one process with the same batch, up to the order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor

from babelclip.errors import SettingError

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Workers:
    """This process among those that train together.

    Attributes:
        rank: number of this process; 0 alone prints and writes.
        count: how many there are.
        precision: what the tower really runs in: ``float32`` where the device lacks what was asked for.
    """

    def __init__(self, device: torch.device, precision: str = "float32") -> None:
        """Join the other processes, if there are any.

        Args:
            device: where this process runs the tower.
            precision: a name of ``config.PRECISIONS``.
        """
        # The others wait while process 0 looks at all pictures; that may take hours the first time.
        self._state = PartialState(cpu=device.type == "cpu", timeout=timedelta(days=1))
        self.rank: int = self._state.process_index
        self.count: int = self._state.num_processes
        self.precision = precision if _can(device, precision) else "float32"
        self._device = device

    def machine(self) -> dict[str, str]:
        """Return what the bits of a result depend on beside settings and data, by what messages call it."""
        return {"torch": torch.__version__, "device": self._device.type, "effective precision": self.precision}

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context in which matrix products run in ``precision``; the loss and the rows stay in float32."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=DTYPES[self.precision])

    def scaler(self) -> torch.amp.GradScaler:
        """Return a loss scaler; it does something in float16 only."""
        return torch.amp.GradScaler(self._device.type, enabled=self.precision == "float16")

    def part(self, size: int) -> slice:
        """Return this process's share of a batch of ``size`` texts; shares differ by at most one text.

        Raises:
            SettingError: there are more processes than texts.
        """
        if size < self.count:
            raise SettingError(f"{self.count} processes share a batch of {size} texts", fix="Use fewer processes.")
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def gather(self, own: Tensor, size: int) -> Tensor:
        """Put the processes' vectors together: (own part, dim) to (size, dim), with gradient to the own part."""
        if self.count == 1:
            return own
        whole: Tensor = _Gather.apply(own, self.part(size), size, self.count)  # type: ignore[no-untyped-call]
        return whole

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run the context in process 0 first and in the others after it; they find its files."""
        with self._state.main_process_first():
            yield

    def leave(self) -> None:
        """Wait for the others; call it when all work is done."""
        if self.count > 1:
            self._state.wait_for_everyone()
            self._state.destroy_process_group()

    def agree(self, done: int, what: str) -> None:
        """Compare how far the processes have come; they must go on from the same place.

        Args:
            done: how many steps or languages this process has behind it.
            what: what they are called.

        Raises:
            SettingError: in every process, if one has another number.
        """
        mean = self.mean(torch.tensor(done, dtype=torch.float64))
        apart = self.mean((done - mean).abs())
        if float(apart) > 1e-6:
            raise SettingError(
                f"process {self.rank} of {self.count} goes on after {done} {what}, but not every process does",
                fix="Keep the checkpoints where all processes see them, or delete them everywhere.",
            )

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over the processes; the same bits in each."""
        if self.count == 1:
            return tensor
        averaged: Tensor = reduce(tensor.to(self._device), "mean")
        return averaged


class _Gather(torch.autograd.Function):
    """All parts of a batch in each process.

    Each process forms the gradient of the same whole loss, and gradients are averaged afterwards. That is right for
    what the loss takes from the rows directly, but only one process holds the graph of a text: its gradient is
    multiplied by the number of processes here, so that the average is the sum over the parts.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, own: Tensor, part: slice, size: int, count: int) -> Tensor:
        ctx.part, ctx.count = part, count  # type: ignore[attr-defined]
        whole = own.new_zeros(size, own.shape[1])
        whole[part] = own
        together: Tensor = reduce(whole, "sum")
        return together

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0][ctx.part] * ctx.count, None, None, None  # type: ignore[attr-defined]


def _can(device: torch.device, precision: str) -> bool:
    """Whether a device computes in a precision."""
    if precision == "bfloat16" and device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return precision == "float32" or bool(torch.amp.is_autocast_available(device.type))
