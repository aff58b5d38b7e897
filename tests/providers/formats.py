"""Small files in the binary forms that hospitals have, written here so that tests know every byte."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import openpyxl

# A number, or a text for a character variable; ".", ".A" to ".Z" and "._" in a numeric one are missing.
Cell = float | int | str


@dataclass(frozen=True)
class Variable:
    """A SAS variable: width 0 is a number of 8 bytes, else a text of that many; `form` as in DATE9."""

    name: str
    width: int = 0
    form: str = ""
    cells: Sequence[Cell] = field(default_factory=list)


def ibm(value: Cell) -> bytes:
    """A number as eight bytes of IBM's hexadecimal floating point; exact for every double in its range."""
    if isinstance(value, str):
        return value[-1].encode() + bytes(7)
    if value == 0:
        return bytes(8)
    fraction, exponent = math.frexp(abs(value))
    hexadecimal = -(-exponent // 4)
    scaled = int(math.ldexp(fraction, 56 + exponent - 4 * hexadecimal))
    return bytes([(0x80 if value < 0 else 0) | (hexadecimal + 64)]) + scaled.to_bytes(7, "big")


def xport(variables: Sequence[Variable], *, size: int = 140) -> bytes:
    """A SAS transport file, version 5, of one data set."""

    def header(kind: str, rest: str) -> bytes:
        return f"HEADER RECORD*******{kind:<8}HEADER RECORD!!!!!!!{rest:<30}".encode().ljust(80)

    out = header("LIBRARY", "0" * 30) + b"SAS     SAS     SASLIB  9.4".ljust(80) + b" " * 80
    out += header("MEMBER", f"{'0' * 16}01600000000{size:>3}") + header("DSCRPTR", "0" * 30)
    out += b"SAS     TABLE   SASDATA 9.4".ljust(80) + b" " * 80
    out += header("NAMESTR", f"000000{len(variables):04}{'0' * 20}")
    place, names = 0, b""
    for number, one in enumerate(variables, start=1):
        kind, width = (2, one.width) if one.width else (1, 8)
        label, blank = b" " * 40, b" " * 8
        names += struct.pack(
            ">hhhh8s40s8shhh2s8shhl52s", kind, 0, width, number, one.name.encode().ljust(8), label,
            one.form.encode().ljust(8), 0, 0, 0, b"  ", blank, 0, 0, place, bytes(52),
        )[:size]  # fmt: skip
        place += width
    out += names.ljust(-(-len(names) // 80) * 80) + header("OBS", "0" * 30)
    rows = b"".join(
        b"".join(str(cell).encode().ljust(one.width) if one.width else ibm(cell) for one, cell in row)
        for row in (
            list(zip(variables, cells, strict=True))
            for cells in zip(*(v.cells for v in variables), strict=True)
        )
    )
    return out + rows.ljust(-(-len(rows) // 80) * 80)


def nan(tag: str) -> bytes:
    """A missing number of a sas7bdat file: a NaN whose third byte says which."""
    position = {".": 1, "._": 0}.get(tag, ord(tag[-1]) - ord("A") + 2)
    return bytes([0, 0, 0, 0, 0, ~position & 0xFF, 0xFF, 0xFF])


def sas7bdat(variables: Sequence[Variable]) -> bytes:
    """A SAS data set of 32 bits, little-endian, UTF-8, uncompressed, in one mixed page."""
    size = 65_536
    text, places = bytearray(28), {}
    for one in variables:
        for said in (one.name, one.form):
            places[said] = (len(text), len(said))
            text += said.encode().ljust(-(-len(said) // 4) * 4)
    rows = [b"".join(_sas_cell(one, cell) for one, cell in zip(variables, cells, strict=True))
            for cells in zip(*(one.cells for one in variables), strict=True)]  # fmt: skip
    width = sum(one.width or 8 for one in variables)
    row_size = bytearray(480)
    row_size[:4] = b"\xf7" * 4
    for position, value in ((5, width), (6, len(rows)), (9, len(variables)), (10, 0), (15, len(rows))):
        struct.pack_into("<I", row_size, 4 * position, value)
    names, attributes, offset = (
        bytearray(b"\xff" * 4 + bytes(8)),
        bytearray(b"\xfc\xff\xff\xff" + bytes(8)),
        0,
    )
    formats = []
    for one in variables:
        start, length = places[one.name]
        names += struct.pack("<HHHH", 0, start, length, 0)
        attributes += struct.pack("<IIHBB", offset, one.width or 8, 0, 2 if one.width else 1, 0)
        offset += one.width or 8
        shown = bytearray(b"\xfe\xfb\xff\xff" + bytes(48))
        struct.pack_into("<HHH", shown, 34, 0, *places[one.form])
        formats.append(bytes(shown))
    subheaders = [
        bytes(row_size),
        b"\xf6" * 4 + struct.pack("<II", len(variables), 0),
        b"\xfd\xff\xff\xff" + struct.pack("<H", len(text)) + bytes(text[2:]),
        bytes(names) + bytes(8),
        bytes(attributes) + bytes(8),
        *formats,
    ]
    page = bytearray(size)
    struct.pack_into("<HHH", page, 16, 0x0200, len(rows) + len(subheaders), len(subheaders))
    end = size
    for number, one in enumerate(subheaders):
        end -= len(one)
        page[end : end + len(one)] = one
        struct.pack_into("<IIBBH", page, 24 + 12 * number, end, len(one), 0, 0, 0)
    start = -(-(24 + 12 * len(subheaders)) // 8) * 8
    body = b"".join(rows)
    page[start : start + len(body)] = body
    magic = bytes(12) + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00\x09\xc7\x31\x8c\x18\x1f\x10\x11"
    header = bytearray(magic.ljust(1024, b"\0"))
    header[32:40] = b"\x22\x22\x00\x22\x22\x01\x00\x31"
    header[70] = 20
    struct.pack_into("<III", header, 196, 1024, size, 1)
    return bytes(header) + bytes(page)


def _sas_cell(one: Variable, cell: Cell) -> bytes:
    if one.width:
        return str(cell).encode().ljust(one.width)
    return nan(cell) if isinstance(cell, str) else struct.pack("<d", cell)


def workbook(sheets: dict[str, Sequence[Sequence[Any]]]) -> bytes:
    """An Excel workbook; sheets in the order given."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
