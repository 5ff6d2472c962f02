"""Keep freed memory instead of giving it back to the system and asking for it again in the next step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # names and numbers of glibc's malloc.h
LARGEST, KEPT = 256 * 2**20, 2**30


def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory, and take blocks below 256 MiB from it.

    A training step on a CPU frees and takes hundreds of blocks of some MB; glibc gives each back to the system and gets
    it again page by page (figures: dev/LOG.md). The setting holds for the whole process, so only programs that are ours
    call this: the command line and the benchmarks.

    Returns:
        Whether it could be set; on systems without glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    large = any(mallopt(_M_MMAP_THRESHOLD, size) == 1 for size in (LARGEST, 32 * 2**20))  # old ones allow 32 MiB
    kept = [mallopt(name, value) == 1 for name, value in ((_M_TRIM_THRESHOLD, KEPT), (_M_TOP_PAD, 64 * 2**20))]
    return large and all(kept)
