"""Refunds from the request to the ledger, by a real worker; whatever fails in between, each effect is there once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from dataqueue_django import Completion, Job, JobStatus, get_queue
from example_project.post.models import Letter
from example_project.refunds import bank, jobs, requesting
from example_project.refunds.deciding import Decision, decide, standing
from example_project.refunds.models import BankTransfer, LedgerEntry, Refund, RefundState
from example_project.refunds.requesting import AskedBefore, request_refund
from example_project.refunds.watching import watch

from .conftest import job_of, work_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], None]
YES, NO = Decision(approve=True, note="Sorry"), Decision(approve=False, note="Used up")


def requested(order: str = "A-1", email: str = "ada@example.com") -> Refund:
    return request_refund(order, Decimal("12.50"), "It broke", email)[0]


def asked(work: Work, order: str = "A-1") -> Refund:
    """A refund that waits for a decision."""
    refund = requested(order)
    work()
    refund.refresh_from_db()
    assert refund.state == RefundState.ASKED
    return refund


def finished(work: Work, refund: Refund) -> Job:
    job = work_to_the_end(work, refund.job_id)
    refund.refresh_from_db()
    return job


def effects() -> tuple[int, int, list[str]]:
    """How many payments and entries of the ledger there are, and to whom letters went."""
    to = list(Letter.objects.order_by("id").values_list("to", flat=True))
    return BankTransfer.objects.count(), LedgerEntry.objects.count(), to


def once(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> list[str]:
    """Let a function fail after its work, the first time; what is returned says how often it was called."""
    real, calls = getattr(place, name), list[str]()

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        result = real(*args, **kwargs)
        if len(calls) == 1:
            raise RuntimeError("the power failed")
        return result

    monkeypatch.setattr(place, name, failing)
    return calls


def test_a_refund_waits_without_holding_anything(work: Work) -> None:
    refund = asked(work)
    job = job_of(refund.job_id)
    assert (job.status, job.worker_id, job.wait_token_id) == (JobStatus.WAITING, None, refund.token_id)
    token = get_queue().get_token(refund.token_id)
    assert token is not None
    assert ((token.timeout_at - token.created_at).total_seconds(), token.tags) == (48 * 3600, (f"refund-{refund.pk}",))
    assert effects() == (0, 0, ["approver@example.com"])
    assert watch(refund).waits_for_person


def test_an_approved_one_is_paid_and_booked(work: Work) -> None:
    refund = asked(work)
    assert decide(refund, YES, "jo")[0] is Completion.COMPLETED
    assert watch(refund).label == "approved, to be carried out"
    job = finished(work, refund)
    assert (refund.state, refund.decided_by, refund.note) == (RefundState.REFUNDED, "jo", "Sorry")
    assert effects() == (1, 1, ["approver@example.com", "ada@example.com"])
    assert LedgerEntry.objects.get().transfer == str(BankTransfer.objects.get())
    assert (job.status, job.attempts, job.output["state"]) == (JobStatus.COMPLETED, 1, "refunded")
    steps = [step.name for step in get_queue().get_job_steps(job.id) if step.kind == "step"]
    assert steps == ["assess", "ask", "transfer"]
    lines = [(line.what, line.who) for line in watch(refund).lines]
    assert ("approved", "jo") in lines
    assert watch(refund).refresh is None


def test_a_rejected_one_is_neither_paid_nor_booked(work: Work) -> None:
    refund = asked(work)
    assert decide(refund, NO, "jo")[0]
    finished(work, refund)
    assert (refund.state, refund.decided_by, refund.note) == (RefundState.REJECTED, "jo", "Used up")
    assert effects() == (0, 0, ["approver@example.com", "ada@example.com"])
    assert "Used up" in Letter.objects.get(to="ada@example.com").body


def test_one_that_nobody_decides_on_expires(work: Work, settings: Any) -> None:
    settings.REFUND_APPROVAL_TIMEOUT = 0.3
    refund = requested()
    finished(work, refund)
    assert (refund.state, refund.decided_by) == (RefundState.EXPIRED, "")
    assert effects() == (0, 0, ["approver@example.com", "approver@example.com", "ada@example.com"])
    completion, sentence = decide(refund, YES, "jo")
    assert completion is Completion.EXPIRED
    assert "It is too late" in sentence


def test_time_counts_even_while_no_worker_is_there(work: Work, settings: Any) -> None:
    settings.REFUND_APPROVAL_TIMEOUT = 0.3
    refund = asked(work)
    while not standing(refund).is_over:
        assert timezone.now() < job_of(refund.job_id).created_at + timezone.timedelta(minutes=1)
    assert standing(refund).obstacle is Completion.EXPIRED
    assert decide(refund, YES, "jo")[0] is Completion.EXPIRED
    finished(work, refund)
    assert refund.state == RefundState.EXPIRED


def test_a_decision_in_time_counts_however_late_a_worker_comes(work: Work, settings: Any) -> None:
    settings.REFUND_APPROVAL_TIMEOUT = "2s"
    refund = asked(work)
    assert decide(refund, YES, "jo")[0] is Completion.COMPLETED
    token = get_queue().get_token(refund.token_id)
    while token is not None and token.timeout_at > timezone.now():
        get_queue().expire_timed_out_tokens()
    finished(work, refund)
    assert refund.state == RefundState.REFUNDED


def test_of_many_decisions_at_once_one_counts(work: Work) -> None:
    refund = asked(work)
    start, found = threading.Barrier(6), list[tuple[str, Completion]]()

    def decide_as(who: str, decision: Decision) -> None:
        start.wait()
        try:
            found.append((who, decide(refund, decision, who)[0]))
        finally:
            connection.close()

    threads = [threading.Thread(target=decide_as, args=(f"user {n}", YES if n % 2 else NO)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [who for who, completion in found if completion]
    assert len(winners) == 1
    assert sorted(completion for _, completion in found) == ["already_completed"] * 5 + ["completed"]
    finished(work, refund)
    assert refund.decided_by == winners[0]
    assert refund.state == (RefundState.REFUNDED if int(winners[0][-1]) % 2 else RefundState.REJECTED)


@pytest.mark.parametrize(("place", "name"), [(jobs, "_ask"), (jobs, "_book"), (jobs, "_close"), (jobs, "write")])
def test_what_fails_in_a_transaction_leaves_nothing_and_is_done_again(
    work: Work, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    calls = once(monkeypatch, place, name)
    refund = requested()
    while job_of(refund.job_id).status != JobStatus.WAITING:
        work()
    refund.refresh_from_db()
    assert decide(refund, YES, "jo")[0]
    job = finished(work, refund)
    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 2)
    assert len(calls) >= 2
    assert effects() == (1, 1, ["approver@example.com", "ada@example.com"])


def test_a_payment_that_was_made_but_not_noted_is_not_made_again(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    once(monkeypatch, bank, "transfer")
    refund = asked(work)
    assert decide(refund, YES, "jo")[0]
    job = finished(work, refund)
    assert (job.attempts, effects()[:2]) == (2, (1, 1))
    assert BankTransfer.objects.get().times_asked == 2


def test_what_was_given_back_before_is_told_as_it_was_when_asked(work: Work) -> None:
    first = asked(work)
    second = asked(work, "A-2")
    assert decide(first, YES, "jo")[0]
    finished(work, first)
    third = asked(work, "A-3")
    told = [Letter.objects.get(about=f"refund {one.pk}", to="approver@example.com").body for one in (second, third)]
    assert ["so far: 0.00." in told[0], "so far: 12.50." in told[1]] == [True, True]


def test_a_cancelled_job_is_shown_and_goes_on_when_retried(work: Work) -> None:
    refund = asked(work)
    assert get_queue().cancel_job(refund.job_id or 0)
    assert "cancelled" in watch(refund).failure
    assert decide(refund, YES, "jo")[0]
    assert get_queue().retry_job(refund.job_id or 0)
    finished(work, refund)
    assert (refund.state, effects()[:2]) == (RefundState.REFUNDED, (1, 1))


def test_a_refund_that_is_closed_while_its_page_is_made_is_not_stuck(work: Work) -> None:
    refund = asked(work)
    assert decide(refund, YES, "jo")[0]
    work_to_the_end(work, refund.job_id)  # what was read before knows nothing of it
    assert (watch(refund).failure, watch(refund).label) == ("", "refunded")


class TestRequesting:
    """A refund and its job are stored together, once for an order."""

    def test_without_its_job_there_is_no_refund(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(refund: Refund) -> str:
            raise RuntimeError("no")

        monkeypatch.setattr(requesting, "tag_of", broken)
        with pytest.raises(RuntimeError):
            requested()
        assert (Refund.objects.count(), get_queue().count_jobs()) == (0, 0)

    def test_the_same_wish_is_the_same_refund(self) -> None:
        first = requested()
        assert request_refund("A-1", Decimal("12.50"), "Again", "ada@example.com") == (first, False)
        assert (Refund.objects.count(), get_queue().count_jobs()) == (1, 1)

    def test_another_wish_for_the_same_order_is_refused(self) -> None:
        requested()
        with pytest.raises(AskedBefore):
            requested(email="eve@example.com")
        assert Refund.objects.count() == 1

    def test_after_a_no_one_may_ask_again_and_after_a_yes_not(self, work: Work) -> None:
        refund = asked(work)
        assert decide(refund, NO, "jo")[0]
        finished(work, refund)
        again = asked(work)
        assert again.pk != refund.pk
        assert decide(again, YES, "jo")[0]
        finished(work, again)
        assert request_refund("A-1", Decimal("12.50"), "More", "ada@example.com") == (again, False)
