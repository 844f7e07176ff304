"""What is noted of a duty; who may take one is the contract's."""

from __future__ import annotations

import pytest

from dataqueue_django.domain.duties import LONGEST_ERROR, in_one_line


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b\tc"), "ValueError: a b c"),
        (ValueError(), "ValueError"),
        (ValueError("a\0b"), "ValueError: a�b"),
        (Rude(), "Rude: <Rude whose str() raised RuntimeError>"),
        (ValueError("ü" * 1000), "ValueError: " + "ü" * ((LONGEST_ERROR - 12) // 2)),
    ],
)
def test_an_error_is_one_short_line(error: Exception, line: str) -> None:
    assert in_one_line(error) == line
