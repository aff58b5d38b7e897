"""From text to tokens: names, numbers, signs, and where a statement ends.

A line ends a statement except inside parentheses, so the tokens know about parentheses and the grammar need
not know about lines. Every limit on hostile text (length, number of tokens, nesting) is enforced here, before
a tree exists; time and memory are linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lark import Token

from analytics.query.errors import ProgramRejected
from analytics.query.tree import BARE, DEEPEST, KEYWORDS, MOST_DIGITS, NUMBER, as_number

LONGEST_TEXT = 64 * 1024  # bytes of UTF-8
MOST_TOKENS = 5_000

_GAP = re.compile(r"(?:\s++|#[^\r\n]*+)++")  # possessive: a long gap costs no memory
_LINE = re.compile(r"\r\n|\r|\n")
_TEXT = re.compile(r"\"[^\"\r\n]*(?:\"\"[^\"\r\n]*)*\"|'[^'\r\n]*(?:''[^'\r\n]*)*'")
_SIGN = re.compile(r"==|!=|<=|>=|=|<|>|\(|\)|,|;")
_SIGNS = {"(": "LPAR", ")": "RPAR", ",": "COMMA", ";": "SEP"}
_HINTS = {
    "“": 'use straight quotes: "',
    "”": 'use straight quotes: "',
    "„": 'use straight quotes: "',
    "‘": "use straight quotes: '",
    "’": "use straight quotes: '",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "!": "write != or not",
    "&": "write and",
    "|": "write or",
    "[": "write parentheses ( )",
    "{": "write parentheses ( )",
}


def tokens(text: str) -> list[Token]:
    """The tokens of a program: NAME TEXT NUMBER OP LPAR RPAR COMMA SEP and one type for each keyword.

    Separators are merged and never stand first or last. A TEXT has lost its quotes, an OP is one of
    == != < <= > >=. Raises ProgramRejected with the place: too_long, too_deep, syntax.
    """
    if len(text) > LONGEST_TEXT or len(text.encode("utf-8", "replace")) > LONGEST_TEXT:
        raise ProgramRejected("too_long", f"a program has at most {LONGEST_TEXT // 1024} KiB of text")
    found: list[Token] = []
    for token in _scan(text):
        if token.type == "SEP" and (not found or found[-1].type == "SEP"):
            continue
        found.append(token)
        if len(found) > MOST_TOKENS:
            raise ProgramRejected(
                "too_long", f"a program has at most {MOST_TOKENS} words and signs", at=_place(token)
            )
    if found and found[-1].type == "SEP":
        found.pop()
    return found


def _scan(text: str) -> Iterator[Token]:
    position, line, line_start = 0, 1, 0
    opened: list[tuple[int, int]] = []
    while position < len(text):
        at = (line, position - line_start + 1)
        if match := _GAP.match(text, position):
            ends = [end.end() for end in _LINE.finditer(text, position, match.end())]
            if ends:
                line, line_start = line + len(ends), ends[-1]
                if not opened:
                    yield _token("SEP", "\n", at)
        elif match := BARE.match(text, position):
            word = match[0].casefold()
            yield _token(word.upper() if word in KEYWORDS else "NAME", match[0], at)
        elif match := NUMBER.match(text, position):
            if BARE.match(text, match.end()) or text[match.end() : match.end() + 1].isdigit():
                raise ProgramRejected(
                    "syntax",
                    "a number ends where a word begins: put names with digits first in quotes",
                    at=at,
                )
            if as_number(match[0]) is None:
                raise ProgramRejected(
                    "syntax", f"a number has at most {MOST_DIGITS} digits on either side of the point", at=at
                )
            yield _token("NUMBER", match[0], at)
        elif match := _TEXT.match(text, position):
            quote = match[0][0]
            yield _token("TEXT", match[0][1:-1].replace(quote * 2, quote), at)
        elif match := _SIGN.match(text, position):
            sign = match[0]
            if sign == "(":
                opened.append(at)
                if len(opened) > DEEPEST:
                    raise ProgramRejected("too_deep", f"parentheses are nested at most {DEEPEST} deep", at=at)
            elif sign == ")":
                if not opened:
                    raise ProgramRejected("syntax", "this parenthesis was never opened", at=at)
                opened.pop()
            elif sign == ";" and opened:
                raise ProgramRejected(
                    "syntax", "a statement ends inside parentheses: a ) is missing before this ;", at=at
                )
            yield _token(_SIGNS.get(sign, "OP"), "==" if sign == "=" else sign, at)
        else:
            raise _unreadable(text[position], at)
        position = match.end()
    if opened:
        raise ProgramRejected("syntax", "this parenthesis is never closed", at=opened[-1])


def _unreadable(char: str, at: tuple[int, int]) -> ProgramRejected:
    if char in "\"'":
        return ProgramRejected("syntax", f"this text has no closing {char} on its line", at=at)
    hint = _HINTS.get(char, "put names with special characters in quotes")
    shown = char if char.isprintable() else f"U+{ord(char):04X}"
    return ProgramRejected("syntax", f"unexpected character {shown}: {hint}", at=at)


def _token(kind: str, text: str, at: tuple[int, int]) -> Token:
    return Token(kind, text, line=at[0], column=at[1])


def _place(token: Token) -> tuple[int, int] | None:
    return None if token.line is None or token.column is None else (token.line, token.column)
