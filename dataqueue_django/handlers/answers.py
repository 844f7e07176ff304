"""What an answer to a token has to look like: a JSON schema, given as such or as a type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..domain.portable import portable
from ..domain.records import JSON
from ..domain.tokens import MAX_SCHEMA
from ..exceptions import DataQueueError, InvalidPayload, InvalidToken, shown
from .foreign import schemas


def schema_of(answer: Any) -> JSON:
    """Return the JSON schema that an answer has to meet, given as a mapping or as a type; None for any answer.

    A type is a dataclass, a TypedDict, or a model of pydantic or msgspec, one of which has to be installed to read it.
    Raises InvalidToken for what is no schema, and ConfigurationError where a library is missing.
    """
    if answer is None:
        return None
    given = dict(answer) if isinstance(answer, Mapping) else schemas.of_type(answer)
    if given is None:
        raise InvalidToken(
            f"answer is {shown(answer)}; expected a JSON schema as a mapping, or a dataclass, TypedDict or model."
        )
    try:
        schema = portable(given, "the schema of the answer", MAX_SCHEMA)
    except InvalidPayload as why:
        raise InvalidToken(str(why)) from None
    problem = schemas.problem_with(schema)
    if problem is not None:
        raise InvalidToken(f"answer is no JSON schema: {problem}.")
    return schema


def misfit(schema: JSON, answer: JSON) -> str | None:
    """Return in one sentence how an answer does not meet its token's schema, or None when it does."""
    if schema is None:
        return None
    try:
        return schemas.misfit(schema, answer)
    except DataQueueError:
        raise
    except Exception as why:  # a reference that leads nowhere, a pattern that is none
        return f"its schema cannot be used ({type(why).__name__}: {json.dumps(str(why))[:200]})"
