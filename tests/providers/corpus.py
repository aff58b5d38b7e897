"""The corpus of malformed tables, and a study on which both commands of a hospital are tried.

A case is a content and the first errors that it must give: rule, line, column. Its name begins with its number in
the test catalogue.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers import __main__ as commands
from tests.providers import formats
from tests.providers.formats import Variable
from tests.providers.world import FakePortal

CODEBOOK = {
    "primaryKey": "id",
    "title": "A small trial",
    "capacity": 64,
    "fields": [
        {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}},
        {
            "name": "weight",
            "type": "number",
            "constraints": {"minimum": 30, "maximum": 157.5},
            "resolution": 0.5,
        },
        {"name": "arm", "type": "string", "categories": ["a", "b"]},
    ],
    "policy": {"epsilon": 2.5, "epsilon_per_query": "0.5", "expires": "2030-01-01"},
}
HEADER = "id,age,weight,arm\n"
GOOD = HEADER + "1,50,70.2,a\n2,61,81,b\n"
ROWS = [["id", "age", "weight", "arm"], ["1", 50, 70.2, "a"], ["2", 61, 81, "b"]]
SAS = [
    Variable("id", 4, cells=["1", "2"]),
    Variable("age", cells=[50, 61]),
    Variable("weight", cells=[70.2, 81]),
    Variable("arm", 200, cells=["a", "b"]),
]


@dataclass(frozen=True)
class Study:
    """A folder with a codebook and one table, and the commands on them."""

    folder: Path
    portal: FakePortal
    capture: Any

    def write(self, content: bytes | str, file: str = "t.csv") -> Path:
        path = self.folder / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def check(self, *files: Path) -> list[dict[str, Any]]:
        """The problems that `check` lists; none of another form than promised."""
        arguments = ["check", "--codebook", str(self.folder / "C.json"), "--json", *map(str, files)]
        code = commands.main(arguments)
        out, err = self.capture.readouterr()
        assert err == ""
        problems: list[dict[str, Any]] = json.loads(out)
        assert all({"file", "line", "column", "rule", "message", "remedy"} <= set(p) for p in problems)
        assert code == (1 if any(p["severity"] == "error" for p in problems) else 0)
        return problems

    def refused(self, *files: Path) -> list[tuple[str, int | None, str | None]]:
        """(rule, line, column) of each error; both commands refuse, and neither leaves or sends anything."""
        errors = [p for p in self.check(*files) if p["severity"] == "error"]
        assert errors
        assert all(p["file"] and p["rule"] and p["message"] and p["remedy"] for p in errors)
        before = sorted(self.folder.rglob("*"))
        assert self.upload(*files) == 1
        out, err = self.capture.readouterr()
        assert out == ""
        assert "nothing was sent" in err
        assert "Traceback" not in err
        assert self.portal.seen == []
        assert sorted(self.folder.rglob("*")) == before
        return [(p["rule"], p["line"], p["column"]) for p in errors]

    def upload(self, *files: Path) -> int:
        given = [
            "upload",
            "--url",
            "http://portal.test",
            "--token",
            "t",
            "--codebook",
            str(self.folder / "C.json"),
        ]
        return commands.main([*given, "--key", str(self.folder / "keys/key.pem"), *map(str, files)])


def wide(columns: int) -> str:
    return ",".join(["id", *(f"c{n}" for n in range(columns - 1))]) + "\n" + ",".join(["1"] * columns) + "\n"


TEXTS: dict[str, tuple[bytes | str, list[tuple[str, int | None, str | None]]]] = {
    "24 short row": (GOOD + "3,50\n", [("ragged_row", 4, None)]),
    "24 long row": (GOOD + "3,50,70,a,b\n4,1,1\n", [("ragged_row", 4, None), ("ragged_row", 5, None)]),
    "24 unclosed quote": (GOOD + '3,50,70,"a\n4,50,70,b\n', [("unclosed_quote", 4, None)]),
    "24 quote that swallows ten megabytes": (
        GOOD + '3,50,70,"a\n' + "4,50,70,b\n" * 1_000_000,
        [("cell_too_long", 4, None)],
    ),
    "24 text after a quote": (GOOD + '3,50,70,"a"b\n', [("quoting", 4, None)]),
    "24 NUL": (GOOD + "3,50,70,\0a\n", [("nul_byte", 4, None)]),
    "24 NUL far behind": (GOOD + "3,50,70,a\n" * 20_000 + "3,50,70,\0a\n", [("nul_byte", 20_004, None)]),
    "24 only NUL": (bytes(5000), [("nul_byte", 1, None)]),
    "24 lone CR in a cell": (GOOD + "3,50,7\r0,a\n", [("ragged_row", 4, None), ("ragged_row", 5, None)]),
    "24 ten megabyte cell": (GOOD + "3,50,70," + "a" * 10_000_000 + "\n", [("cell_too_long", 4, None)]),
    "24 ten megabyte header": ("id," + "a" * 10_000_000 + "\n1,2\n", [("cell_too_long", 1, None)]),
    "24 ten thousand columns": (wide(10_000), [("too_many_columns", 1, None)]),
    "24 empty": (b"", [("empty_file", None, None)]),
    "24 only line ends": ("\n\r\n\r", [("empty_file", None, None)]),
    "24 only a mark": (b"\xef\xbb\xbf", [("empty_file", None, None)]),
    "24 header only": (HEADER, [("no_rows", 1, None)]),
    "24 header and rows of nothing": (HEADER + ",,,\n,,,\n", [("no_rows", 1, None)]),
    "24 duplicate header": ("id,age,weight,arm,age\n1,50,70,a,51\n", [("duplicate_header", 1, "age")]),
    "24 headers that are one when stripped": (
        "id,age, age,arm\n1,50,70,a\n",
        [("duplicate_header", 1, "age")],
    ),
    "24 no header": (
        "1,50,70.2,a\n2,61,81,b\n",
        [("column_missing", 1, name) for name in ("age", "weight", "arm")],
    ),
    "24 semicolons below a header of commas": (
        HEADER + "1;50;70.2;a\n",
        [("ragged_row", 2, None), ("no_rows", 1, None)],
    ),
    "24 tabs below a header of semicolons": (
        "id;age;weight;arm\n1\t50\t70,2\ta\n",
        [("ragged_row", 2, None), ("no_rows", 1, None)],
    ),
    "24 no separator known": (
        "id|age|weight|arm\n1|50|70.2|a\n",
        [("column_missing", 1, name) for name in ("age", "weight", "arm")],
    ),
    "25 shift-jis": (GOOD.encode() + "3,50,70,薬剤\n".encode("shift-jis"), [("encoding", 4, None)]),
    "25 windows-1252": (GOOD.encode() + "3,50,70,“a”\n".encode("cp1252"), [("encoding", 4, None)]),
    "25 invalid bytes": ("id,ä\n1,2\n".encode() + b"\xff\xfe\xfd\n", [("encoding", 3, None)]),
    "25 utf-16 without its mark": (GOOD.encode("utf-16-le"), [("encoding", 1, None)]),
    "25 half of utf-16": (GOOD.encode("utf-16")[:-1], [("encoding", 3, None)]),
    "25 utf-32": (GOOD.encode("utf-32"), [("nul_byte", 1, None)]),
    "25 latin-1 level": (GOOD.encode() + "3,50,70,é\n".encode("latin-1"), [("unknown_level", 4, "arm")]),
    "26 gzip": (b"\x1f\x8b\x08" + bytes(100), [("not_csv", None, None)]),
    "26 old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", [("not_csv", None, None)]),
    "26 pdf": (b"%PDF-1.7\n%\xe2\xe3", [("not_csv", None, None)]),
    "26 a page that is called a table": (
        "<html>\n<table>\n",
        [("column_missing", 1, name) for name in ("age", "weight", "arm")],
    ),
}


def lying_zip(members: dict[str, bytes], name: str, size: int) -> bytes:
    """An archive whose directory says that `name` unpacks to `size` bytes, whatever it does."""
    content = bytearray(formats.zipped(members))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.getinfo(name).header_offset
    directory = content.rindex(name.encode()) - 46
    assert content[directory : directory + 4] == b"PK\x01\x02"
    for place in (at + 22, directory + 24):
        struct.pack_into("<I", content, place, size)
    return bytes(content)


def workbook_with(name: str, content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(formats.workbook({"a": ROWS}))) as archive:
        return {one: archive.read(one) for one in archive.namelist()} | {name: content}


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    + b']><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    + b'<row r="1"><c r="A1" t="inlineStr"><is><t>&a9;</t></is></c></row></sheetData></worksheet>'
)


def growing(declared: int) -> bytes:
    """A SAS data set of two rows that says it has many more."""
    content = bytearray(formats.sas7bdat(SAS))
    at = content.index(b"\xf7" * 4, 1024)
    for position in (6, 15):
        struct.pack_into("<I", content, at + 4 * position, declared)
    return bytes(content)


XPORT, SAS7BDAT = formats.xport(SAS), formats.sas7bdat(SAS)
BINARIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip bomb": (lambda: formats.zipped(workbook_with("xl/sharedStrings.xml", bytes(2**26))), "zip_bomb"),
    "zip bomb whose directory lies": (
        lambda: lying_zip(workbook_with("[Content_Types].xml", bytes(2**28)), "[Content_Types].xml", 100),
        "bad_workbook",
    ),
    "entities that multiply in UTF-16": (
        lambda: formats.zipped(
            workbook_with(
                "xl/worksheets/sheet1.xml",
                LAUGHS.replace(b'"1.0"', b'"1.0" encoding="utf-16"').decode().encode("utf-16"),
            )
        ),
        "bad_workbook",
    ),
    "entities that multiply": (
        lambda: formats.zipped(workbook_with("xl/worksheets/sheet1.xml", LAUGHS)),
        "bad_workbook",
    ),
    "zip in a zip": (lambda: formats.zipped({"t.xlsx": formats.workbook({"a": ROWS})}), "not_csv"),
    "workbook cut off": (lambda: formats.workbook({"a": ROWS})[:-40], "not_csv"),
    "workbook with a broken part": (
        lambda: formats.workbook({"a": ROWS}).replace(b"PK\x01\x02", b"PK\x01\x03", 1),
        "not_csv",
    ),
    "transport file cut off in its head": (lambda: XPORT[:700], "bad_xport"),
    "transport file cut off in a row": (lambda: XPORT[:-80], "bad_xport"),
    "transport file cut off in a record": (lambda: XPORT[:-7], "bad_xport"),
    "transport file without a row": (lambda: formats.xport([Variable("id", 4), Variable("age")]), "no_rows"),
    "data set cut off in its head": (lambda: SAS7BDAT[:900], "bad_sas7bdat"),
    "data set cut off in a page": (lambda: SAS7BDAT[:-30_000], "bad_sas7bdat"),
    "data set that declares rows it has not": (lambda: growing(2**23), "bad_sas7bdat"),
    "spss": (lambda: b"$FL2@(#) SPSS DATA FILE" + bytes(300), "not_csv"),
}
