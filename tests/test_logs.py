"""What the package logs of a handler's exception."""

from __future__ import annotations

import logging

import pytest

from dataqueue_django.logs import LONGEST_TRACE, handler_error


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.mark.parametrize(("length", "cut"), [(10, False), (60_000_000, True)])
def test_a_traceback_is_logged_as_far_as_it_fits(length: int, cut: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="dataqueue_django.jobs"):
        error = raised(f"begun {'x' * length} and ended")
        handler_error(error, job_id=7, job_type="send", attempt=1, final=False)
    (record,) = caplog.records
    written = logging.Formatter().format(record)
    assert written.startswith("job 7 'send' raised ValueError in attempt 1\n")
    assert all(words in written for words in ("Traceback", "raise ValueError", "begun xxx", "xxx and ended"))
    assert len(written) < LONGEST_TRACE + 200
    assert (record.exc_info is None) is cut, "whoever writes exceptions in a way of its own would write all of it"
    assert ("characters left out" in written) is cut
