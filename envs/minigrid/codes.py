"""Cells of Minigrid as one byte each: codes, their text, and the three bytes an agent sees.

A cell holds nothing or one object: a kind, a colour, and for doors a state. Here it is one byte,
whose highest bit says whether light passes, so that eight cells side by side are one int64 and a
view's shadows are a few operations on whole rows (`envs.minigrid.views`):

    0          not seen
    1 - 127    light ends here: walls, closed doors, locked doors
    128 - 255  light passes: nothing, floor, open doors, keys, balls, boxes, goals, lava, and boxes
               that hold a key, which look like any other box

As text a cell is two characters, a mark and a letter of the colour (r g b p y e, the last for
grey): ``#r`` is a red wall, ``Ky`` a yellow key. What nearly all cells hold has a text of its own:
``..`` nothing, ``##`` a grey wall, ``$$`` a green goal, ``~~`` lava. A box that holds a key is
written with two letters, the box's in upper case: ``Ey`` is a grey box with a yellow key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BOX_OF_KEY",
    "CLOSED",
    "CODES",
    "COLOURS",
    "KINDS",
    "LIGHT",
    "LOCKED",
    "NOTHING",
    "NUM_CODES",
    "NUM_COLOURS",
    "NUM_KINDS",
    "NUM_STATES",
    "OPEN",
    "SHOWN",
    "TEXTS",
    "TRIPLES",
    "WALL",
    "code_of",
    "is_kind",
    "with_colours",
]

KINDS = (
    *("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent"),
)
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
OPEN, CLOSED, LOCKED = range(3)
NUM_KINDS, NUM_COLOURS, NUM_STATES = len(KINDS), len(COLOURS), 3
"""Minigrid's numbers of kinds, colours and states of doors are places in these tuples."""

NUM_CODES = 256
LIGHT = 128
"""Codes from here on let light pass."""

NOTHING = LIGHT
LETTERS = "rgbpye"

# (kind, state, mark, the first of six codes)
BLOCKS = (
    ("wall", OPEN, "#", 1),
    ("door", CLOSED, "D", 7),
    ("door", LOCKED, "L", 13),
    ("floor", OPEN, "_", LIGHT + 1),
    ("door", OPEN, "O", LIGHT + 7),
    ("key", OPEN, "K", LIGHT + 13),
    ("ball", OPEN, "A", LIGHT + 19),
    ("box", OPEN, "X", LIGHT + 25),
    ("goal", OPEN, "$", LIGHT + 31),
    ("lava", OPEN, "~", LIGHT + 37),
)
BOX_OF_KEY = LIGHT + 43
"""The first of 36 codes: box of colour b with a key of colour k is ``BOX_OF_KEY + 6 * b + k``."""

USUAL = {"#e": "##", "$g": "$$", "~r": "~~"}
"""Texts of what has usually one colour."""

CODES = {(kind, state): first for kind, state, _, first in BLOCKS}
"""Kind and state to the first of six codes, one for each colour in Minigrid's order."""


def code_of(kind: str, colour: str, state: int = OPEN, key: str | None = None) -> int:
    """The code of an object.

    Args:
        kind: Its kind; "empty" for nothing.
        colour: Its colour.
        state: Of a door, 0 open, 1 closed, 2 locked.
        key: Colour of the key that it holds, if it is a box.

    Raises:
        KeyError: If there is no such object.
    """
    if kind == "empty":
        return NOTHING
    number = COLOURS.index(colour)
    if key is not None:
        return BOX_OF_KEY + NUM_COLOURS * number + COLOURS.index(key)
    return CODES[kind, state] + number


def with_colours(kind: str, state: int = OPEN) -> range:
    """The six codes of a kind and state, by colour; boxes that hold a key are not among them."""
    first = CODES[kind, state]
    return range(first, first + NUM_COLOURS)


def is_kind(*kinds: str) -> NDArray[np.bool_]:
    """Bool [256]: whether a code looks like one of some kinds."""
    return np.isin(TRIPLES[:, 0], [KINDS.index(kind) for kind in kinds])


def _texts() -> dict[int, str]:
    """Code to text."""
    texts = {NOTHING: ".."}
    for _, _, mark, first in BLOCKS:
        for number, letter in enumerate(LETTERS):
            text = mark + letter
            texts[first + number] = USUAL.get(text, text)
    for box, first_letter in enumerate(LETTERS.upper()):
        for key, letter in enumerate(LETTERS):
            texts[BOX_OF_KEY + NUM_COLOURS * box + key] = first_letter + letter
    return texts


def _triples() -> NDArray[np.uint8]:
    """uint8 [256, 3]: kind, colour and state as Minigrid's image shows them; 0 if no code."""
    triples = np.zeros((NUM_CODES, 3), dtype=np.uint8)
    triples[NOTHING] = (KINDS.index("empty"), 0, 0)
    for kind, state, _, first in BLOCKS:
        for number in range(NUM_COLOURS):
            triples[first + number] = (KINDS.index(kind), number, state)
    for number in range(NUM_COLOURS**2):
        triples[BOX_OF_KEY + number] = (KINDS.index("box"), number // NUM_COLOURS, 0)
    triples.setflags(write=False)
    return triples


TEXTS = _texts()
"""Code to text."""

TRIPLES = _triples()
"""Code to kind, colour and state, uint8 [256, 3]."""

SHOWN = np.arange(NUM_CODES, dtype=np.uint8)
"""Code to the code that the agent sees: boxes do not show what they hold. uint8 [256]."""
for _number in range(NUM_COLOURS**2):
    SHOWN[BOX_OF_KEY + _number] = CODES["box", OPEN] + _number // NUM_COLOURS
SHOWN.setflags(write=False)

WALL = code_of("wall", "grey")
"""A wall as Minigrid draws it, also all that is outside a grid."""
