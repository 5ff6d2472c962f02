"""What a run costs."""

from __future__ import annotations

import sys

import torch


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of this process, or of its GPU where it runs on one, in MB (10^6 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        return 0.0  # Windows does not tell through the standard library
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
