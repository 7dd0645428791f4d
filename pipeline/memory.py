"""Memory that is free goes back to the system.

glibc keeps what was freed for whoever asks next, up to a hundred megabytes between two files that
are read in pieces of some megabytes. To give it back with each piece would cost as much as reading;
once for each file costs nothing that could be measured.
"""

import ctypes


def give_back() -> None:
    """Give free pages back, where the allocator of C is glibc's."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
