"""How large a file may be. Every limit is looked at before, or while, something is read; none after.

A table of 2^24 rows is the largest that a codebook can declare. What unpacks to far more than it is, as a
zip bomb does, is refused on the word of its own directory.
"""

from __future__ import annotations

MAX_FILE_BYTES = 2**30
MAX_UNPACKED_BYTES = 2**30
MAX_EXPANSION = 200  # times the packed size, from SMALL_UNPACKED_BYTES on
SMALL_UNPACKED_BYTES = 2**24
MAX_MEMBERS = 10_000  # files inside a workbook
MAX_ROWS = 2**24
MAX_CELLS = 2**28
MAX_COLUMNS = 4096
MAX_CELL = 131_072  # characters; the csv module's own limit
