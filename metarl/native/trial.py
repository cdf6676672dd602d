"""A trial of a library that was just built, in a process that may die of it.

``python trial.py LIBRARY``: loads it, and has it multiply where it is the one of ``selfcheck.cpp``,
which every other is preceded by. Exit status 0: all is well.
"""

import ctypes
import sys

ROWS, WIDTH, DEPTH = 7, 48, 5


def multiplies(library: ctypes.CDLL) -> bool:
    """Whether a product of small whole numbers, which no rounding touches, is right."""
    sizes = [ctypes.c_int64(size) for size in (ROWS, WIDTH, DEPTH)]
    for suffix, kind in (("f", ctypes.c_float), ("d", ctypes.c_double)):
        a = (kind * (ROWS * DEPTH))(*(i % 11 - 5 for i in range(ROWS * DEPTH)))
        b = (kind * (DEPTH * WIDTH))(*(i % 13 - 6 for i in range(DEPTH * WIDTH)))
        c = (kind * (ROWS * WIDTH))(*[float("nan")] * (ROWS * WIDTH))
        getattr(library, f"metarl_product_{suffix}")(*sizes, a, b, c)
        for i in range(ROWS):
            for j in range(WIDTH):
                right = sum(a[i * DEPTH + k] * b[k * WIDTH + j] for k in range(DEPTH))
                if c[i * WIDTH + j] != right:
                    return False
    return True


if __name__ == "__main__":
    found = ctypes.CDLL(sys.argv[1])
    if hasattr(found, "metarl_product_d") and not multiplies(found):
        sys.exit("its products are wrong")
