"""The bytes of a text file as text: UTF-8, UTF-16 with its mark, or Latin-1, and nothing by guesswork.

Every byte string is Latin-1, so whatever is nearly UTF-8, or uses the control codes that Windows-1252 and
Shift-JIS put letters on, is refused rather than read as other letters.
"""

from __future__ import annotations

import re

from providers.report import Report

UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
UTF8_MARK = b"\xef\xbb\xbf"


def holds_nul(content: bytes) -> bool:
    """Whether a NUL byte stands where no text has one: bytes that are no UTF-16 with its mark."""
    return content[:2] not in UTF16 and b"\0" in content


def decode(content: bytes, file: str, report: Report) -> str | None:
    """The text, without byte order marks; None where the report says why there is none."""
    text = _decoded(content, file, report)
    # Programs that put files together leave a second mark, which would become part of the first header.
    return None if text is None else text.lstrip("\ufeff")


def _decoded(content: bytes, file: str, report: Report) -> str | None:
    if content[:2] in UTF16:
        return _utf16(content, file, report)
    if len(content) > 1 and 0 in content[:2] and content[:2] != b"\0\0":
        report.error(
            "encoding",
            "the file is in UTF-16 and does not begin with a byte order mark",
            "save it as CSV in UTF-8 (Excel: 'CSV UTF-8 (comma delimited)')",
            file=file,
            line=1,
        )
        return None
    if (at := content.find(b"\0")) >= 0:
        _nul(file, _line_of(content, at), report)
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        bad = wrong.start + (len(UTF8_MARK) if content.startswith(UTF8_MARK) else 0)
    control = re.search(rb"[\x80-\x9f]", content)
    half_utf8 = content.startswith(UTF8_MARK) or re.search(rb"[\xc3-\xf4][\x80-\xbf]", content[:bad])
    if control or half_utf8:
        report.error(
            "encoding",
            "the text is neither UTF-8 nor Latin-1",
            "save it as CSV in UTF-8",
            file=file,
            line=_line_of(content, bad if half_utf8 or not control else control.start()),
        )
        return None
    report.warning(
        "encoding",
        "the text is not UTF-8 and is read as Latin-1",
        "save it as UTF-8 if letters with accents come out wrong",
        file=file,
        line=_line_of(content, bad),
    )
    return content.decode("latin-1")


def _utf16(content: bytes, file: str, report: Report) -> str | None:
    encoding = UTF16[content[:2]]
    try:
        text = content[2:].decode(encoding)
    except UnicodeDecodeError as wrong:
        report.error(
            "encoding",
            "the file begins like UTF-16 and is broken",
            "save it again, as CSV in UTF-8; the file may be damaged or cut off",
            file=file,
            line=content[2 : 2 + wrong.start].decode(encoding, "replace").count("\n") + 1,
        )
        return None
    if (at := text.find("\0")) >= 0:
        _nul(file, text[:at].count("\n") + 1, report)
        return None
    return text


def _nul(file: str, line: int, report: Report) -> None:
    report.error(
        "nul_byte",
        "the file contains a NUL byte",
        "export the table again as plain text; the file may be damaged",
        file=file,
        line=line,
    )


def _line_of(content: bytes, at: int) -> int:
    head = content[:at]
    return head.count(b"\n") + head.count(b"\r") - head.count(b"\r\n") + 1
