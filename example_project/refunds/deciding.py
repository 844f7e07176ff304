"""Deciding on a refund: by whichever way it comes, the first decision counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.utils import timezone
from django.utils.formats import date_format

from dataqueue_django import Completion, Token, get_queue

from .models import Refund

LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """What completes the token of a refund; the queue takes nothing else."""

    approve: bool
    note: str = ""

    @property
    def word(self) -> str:
        """The decision as it is told."""
        return "approved" if self.approve else "rejected"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a refund can be decided on, or who was faster."""

    refund: Refund
    token: Token | None

    @property
    def decision(self) -> Decision | None:
        """What was decided."""
        is_decided = self.token is not None and self.token.status == "completed"
        return Decision(**self.token.output) if is_decided else None

    @property
    def obstacle(self) -> Completion | None:
        """Why it cannot be decided on, in the word that a decision would get; None when it can."""
        if self.token is None:
            return Completion.NOT_FOUND
        if self.decision is not None:
            return Completion.ALREADY_COMPLETED
        return Completion.EXPIRED if self.is_over else None

    @property
    def is_over(self) -> bool:
        """Whether the time has run out, be it that nobody has noted so yet."""
        return self.token is not None and (self.token.is_closed or self.token.timeout_at <= timezone.now())

    def sentence(self, completion: Completion) -> str:
        """Say what came of a decision, or of the wish for one."""
        if completion is Completion.COMPLETED:
            return f"{self.refund} is {self.decision.word}."
        if completion is Completion.ALREADY_COMPLETED:
            when = _moment(self.token.completed_at)
            return f"{self.refund} was {self.decision.word} already, by {self.token.completed_by} on {when}."
        if completion is Completion.EXPIRED:
            return f"It is too late: the time to decide on {self.refund} ran out on {_moment(self.token.timeout_at)}."
        return f"{self.refund} waits for no decision."


def standing(refund: Refund) -> Standing:
    """Return how a refund stands; others may decide on it meanwhile."""
    return Standing(refund, get_queue().get_token(refund.token_id) if refund.token_id else None)


def decide(refund: Refund, decision: Decision, actor: str) -> tuple[Completion, str]:
    """Decide, unless somebody was faster or the time is up; return what happened, in a word and in a sentence.

    Joins the caller's transaction.
    """
    if not refund.token_id:
        return Completion.NOT_FOUND, standing(refund).sentence(Completion.NOT_FOUND)
    completion = get_queue().complete_token(refund.token_id, asdict(decision), actor=actor)
    return completion, standing(refund).sentence(completion)


def _moment(when: object) -> str:
    return date_format(timezone.localtime(when), "j M Y, H:i:s")  # type: ignore[arg-type]
