"""The names and the limits of a handler's steps, and the records that they leave."""

from __future__ import annotations

from typing import Any

from ..exceptions import InvalidPayload, InvalidStep, shown
from .options import plain
from .portable import is_plain_text, portable
from .records import JSON, Step, StepKind, Token
from .transitions import Execution

LONGEST_NAME = 255
MOST_STEPS = 1000
"""Steps, waits and tokens of one job: each execution reads them all."""


def step_name(given: Any) -> str:
    """Return the name of a step; raises InvalidStep."""
    text = plain(given)
    if not text or len(text) > LONGEST_NAME or not is_plain_text(text):
        raise InvalidStep(f"The name of a step is {shown(given)}; expected a string of 1 to {LONGEST_NAME} characters.")
    return text


def step_result(name: str, value: Any) -> JSON:
    """Return what a step returned as it is recorded and as each replay gets it; raises InvalidStep if it is no JSON."""
    if isinstance(value, Token):
        raise InvalidStep(
            f"Step {shown(name)} returned a token, which is no JSON; expected its id, or create_token() without a step "
            "around it, which is recorded by itself."
        )
    try:
        return portable(value, f"the result of step {shown(name)}")
    except InvalidPayload as why:
        raise InvalidStep(str(why)) from None


def recorded(run: Execution, kind: StepKind, name: str, result: JSON) -> Step:
    """Return the record of something that an execution has done."""
    return Step(job_id=run.job_id, kind=kind, name=name, result=result, claim_seq=run.claim_seq, attempt=run.attempts)
