"""Makes the C library keep freed memory for the next tensors."""

import ctypes

# Parameters of mallopt, from glibc's malloc.h, and their values in bytes.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT, LARGE = 128 * 2**20, 32 * 2**20  # 32 MB is glibc's maximum for MMAP_THRESHOLD


def keep_freed() -> None:
    """Makes glibc keep up to 128 MB of freed memory, and allocate blocks of up to 32 MB from it.

    Every training step frees what it allocated. Depending on the layout of the heap, glibc returns that
    memory to the system; the next step then gets it page by page, zeroed, and may take twice as long.
    No effect with another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError: on Windows, CDLL needs a name
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, LARGE)
