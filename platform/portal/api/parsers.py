"""Request bodies with a limit, read before they are believed.

JSON numbers with a point become Decimal, so no float enters; text that no database or signature could hold
(NUL, lone surrogates) and numbers beyond reason are malformed, not errors of ours.
"""

import json
from decimal import Decimal
from typing import Any, NoReturn

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from portal.api.renderers import JSONRenderer

DEFAULT_LIMIT = 64 * 1024
LARGEST_EXPONENT = 60
LONGEST_INTEGER = 400  # digits
DEEPEST = 200


class TooLarge(APIException):
    status_code = 413
    default_detail = "The request body is too large."
    default_code = "too_large"


class BoundedJSONParser(BaseParser):
    """JSON of at most `view.body_limit` bytes."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        limit = getattr((parser_context or {}).get("view"), "body_limit", DEFAULT_LIMIT)
        return decode(read(stream, limit))


class BoundedBytesParser(BaseParser):
    """Raw bytes of at most `view.body_limit` bytes, whatever type the client says they have."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return read(stream, (parser_context or {})["view"].body_limit)


def read(stream: Any, limit: int) -> bytes:
    """The body; raises TooLarge as soon as it exceeds `limit` bytes."""
    content: bytes = stream.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(f"The request body has more than {limit} bytes.")
    return content


def decode(content: bytes) -> Any:
    """The JSON value in `content`. Raises ParseError in every other case."""
    try:
        value = json.loads(
            content.decode("utf-8"), parse_float=_decimal, parse_int=_integer, parse_constant=_constant
        )
        _check(value, 0)
    except (ValueError, RecursionError, ArithmeticError) as wrong:
        reason = str(wrong) if isinstance(wrong, _Malformed) else "it is not well-formed"
        raise ParseError(f"The body is not JSON that can be used: {reason}.") from None
    return value


class _Malformed(ValueError):
    pass


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if (
        len(text) > LONGEST_INTEGER
        or not value.is_finite()
        or (value and abs(value.adjusted()) > LARGEST_EXPONENT)
    ):
        raise _Malformed("a number is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise _Malformed("a number is out of range")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _Malformed(f"{text} is not a number")


def _check(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise _Malformed("it is nested too deep")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise _Malformed("text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Malformed("text holds half a character") from None
