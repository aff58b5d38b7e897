"""Values of a question that are no plain text or number: the program, and delta."""

# mypy: disable-error-code="type-arg"

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.queries.compiling import LONGEST_PROGRAM


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class ProgramField(serializers.Field):
    """Text of at most 64 KiB, or the same question as JSON."""

    def to_internal_value(self, data: Any) -> str | dict[str, Any]:
        if isinstance(data, dict):
            return data
        if not isinstance(data, str):
            raise serializers.ValidationError("Text or an object is needed.")
        if not data.strip():
            raise serializers.ValidationError("The program is empty.")
        if len(data.encode()) > LONGEST_PROGRAM:
            raise serializers.ValidationError(f"A program has at most {LONGEST_PROGRAM} bytes.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "number"}], "example": "1e-6"})
class DeltaField(serializers.Field):
    """A text such as "1e-6", or a number; what it may be is said where the question is compiled."""

    def to_internal_value(self, data: Any) -> str | float | Decimal:
        if isinstance(data, bool) or not isinstance(data, (str, int, float, Decimal)):
            raise serializers.ValidationError('Delta is a text such as "1e-6".')
        return data[:100] if isinstance(data, str) else data

    def to_representation(self, value: Any) -> Any:
        return value
