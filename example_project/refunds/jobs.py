"""The way of a refund, in one function that may take two days and survives whatever happens meanwhile.

    assess ── make a token ── ask for a decision ══ wait for it ══╤══ yes ── transfer ── book
                                                                  ├══ no ── reject
                                                                  └══ nobody decided in time ── expire

While it waits it holds nothing: no worker, no connection. When it goes on, it runs again from its top, and what was
done before is not done again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from dataqueue_django import JobContext, Token, get_queue, job
from example_project.pace import slow_motion
from example_project.post.models import site_link, write

from . import bank, links
from .deciding import Decision
from .models import LedgerEntry, Refund, RefundState


@job(takes_context=True, max_attempts=5, retry_delay=1, give_up_on=Refund.DoesNotExist)
def settle_refund(ctx: JobContext, refund_id: int) -> None:
    """Have a refund decided, and carry the decision out once."""
    refund = Refund.objects.get(pk=refund_id)
    before = ctx.run("assess", lambda: _assess(ctx, refund))
    token = ctx.create_token(timeout=settings.REFUND_APPROVAL_TIMEOUT, tags=[tag_of(refund)], answer=Decision)
    ctx.run_atomic("ask", lambda: _ask(refund, token, before))
    ctx.set_progress(50, "Waiting for a decision")
    answer = ctx.wait_for_token(token)
    if not answer.ok:
        ctx.atomic_finish(lambda: _expire(refund))
        return
    decision = Decision(**answer.output)
    if not decision.approve:
        ctx.atomic_finish(lambda: _close(refund, RefundState.REJECTED, decision))
        return
    reference = ctx.run("transfer", lambda: _transfer(ctx, refund))
    ctx.atomic_finish(lambda: _book(refund, decision, reference))


def tag_of(refund: Refund) -> str:
    """Return the tag of a refund's job and token."""
    return f"refund-{refund.pk}"


def about(refund: Refund) -> str:
    """Return what the letters of a refund are about."""
    return f"refund {refund.pk}"


def _assess(ctx: JobContext, refund: Refund) -> str:
    """What the customer was given back so far. It may be more at the next look, so it is a step: looked at once."""
    ctx.set_progress(10, "Looking at what the customer was given back before")
    slow_motion(ctx)
    total = LedgerEntry.objects.filter(refund__email=refund.email).aggregate(total=Sum("amount"))["total"]
    return f"{total or Decimal(0):.2f}"


def _ask(refund: Refund, token: Token, before: str) -> None:
    """Note whom a decision is asked of: the letter, and the page that shows the refund, in one transaction."""
    Refund.objects.filter(pk=refund.pk).update(state=RefundState.ASKED, token_id=token.id)
    write(
        about(refund),
        settings.REFUND_APPROVER,
        f"Refund {refund.pk}: {refund.amount} for order {refund.order}?",
        f"{refund.email} wants {refund.amount} back for order {refund.order}. Given back so far: {before}.",
        f"The reason: {refund.reason}",
        f"Approve or reject it here, until {token.timeout_at:%d %b %Y, %H:%M:%S} UTC:",
        site_link(links.decision_path(refund.pk, token.id, settings.REFUND_APPROVER)),
    )


def _transfer(ctx: JobContext, refund: Refund) -> str:
    """Have the bank pay, which no transaction of ours covers: if we die before we know, the key keeps it one."""
    ctx.set_progress(75, "Asking the bank")
    reference = bank.transfer(ctx.idempotency_key("transfer"), refund.email, refund.amount)
    slow_motion(ctx)
    return reference


def _book(refund: Refund, decision: Decision, reference: str) -> dict[str, Any]:
    entry = LedgerEntry.objects.create(refund=refund, amount=refund.amount, transfer=reference)
    return {**_close(refund, RefundState.REFUNDED, decision), "ledger_entry": entry.pk}


def _close(refund: Refund, state: RefundState, decision: Decision) -> dict[str, Any]:
    """Note what became of it and tell the customer; the caller's transaction completes the job as well."""
    token = get_queue().get_token(Refund.objects.get(pk=refund.pk).token_id)
    who = token.completed_by if token else ""
    _move(refund, state, decided_by=who, note=decision.note)
    verdict = "was refunded" if state == RefundState.REFUNDED else "will not be refunded"
    reason = [f"The reason: {decision.note}"] if decision.note else []
    _tell_customer(refund, f"Your order {refund.order} {verdict}", *reason)
    return {"state": state.value}


def _expire(refund: Refund) -> dict[str, Any]:
    _move(refund, RefundState.EXPIRED)
    write(
        about(refund),
        settings.REFUND_APPROVER,
        f"Refund {refund.pk} was not decided in time",
        f"{refund.email} still waits. The order may be asked for again.",
    )
    _tell_customer(refund, f"Your order {refund.order}: nobody decided in time", "Please ask again.")
    return {"state": RefundState.EXPIRED.value}


def _move(refund: Refund, state: RefundState, **values: str) -> None:
    Refund.objects.filter(pk=refund.pk).update(state=state, closed_at=timezone.now(), **values)


def _tell_customer(refund: Refund, subject: str, *paragraphs: str) -> None:
    write(about(refund), refund.email, subject, f"About the {refund.amount} that you asked for.", *paragraphs)
