"""How the C library keeps the memory that tensors give back."""

import ctypes

# Parameters of mallopt, from glibc's malloc.h, and what they are set to, in bytes.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT, LARGE = 128 * 2**20, 32 * 2**20  # 32 MB is the most that glibc takes for MMAP_THRESHOLD


def keep_freed() -> None:
    """Has glibc keep up to 128 MB of freed memory, where blocks of up to 32 MB are taken from.

    Every step frees what it made. By itself, glibc gives that back to the system, or not, as the heap happens
    to lie; where it does, the next step gets it page by page, zeroed, and may take twice as long. No effect
    where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: Windows, where a library needs a name
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, LARGE)
