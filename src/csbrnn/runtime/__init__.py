"""The CPU: a program becomes an image, and a small C library (``c/``) executes it in place.

In the order in which data passes: `tilings` gives each part its share of the products (`unsummed`
says which gates take their sums), `tiling` (with `blocks` and `sharing`) cuts weights into tiles,
`tiling_int8` (with `blocks_int8` and `column_lines`) does so in int8; `memory` and `operands` place
what a stream remembers; `barriers` orders the threads' work, `chunks` that of several time steps;
`products` and `elementwise` write records, and `image` puts everything into one run of bytes, whose
records `layout` lists. `library` loads the C code, `buffers` allocates for it, and `engine` (with
`inputs` and `state`) is what users call.
"""

from csbrnn.runtime.engine import Engine, Stream, compile
from csbrnn.runtime.image import Image, build_image
from csbrnn.runtime.library import available_isas, read_bandwidth
from csbrnn.runtime.memory import StateLayout
from csbrnn.runtime.state import State

__all__ = [
    "Engine",
    "Image",
    "State",
    "StateLayout",
    "Stream",
    "available_isas",
    "build_image",
    "compile",
    "read_bandwidth",
]
