"""Who may decide on refunds, by a link and in the admin, and what everybody else is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core import signing
from django.test import Client
from django.urls import reverse

from dataqueue_django import get_queue
from example_project.onboarding import links as other_links
from example_project.post.models import Letter
from example_project.refunds import links
from example_project.refunds.admin import MOST
from example_project.refunds.models import LedgerEntry, Refund, RefundState

from .conftest import rows_of_every_table, work_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], None]
PAGE, REQUEST, POST = reverse("refunds:refunds"), reverse("refunds:request"), reverse("post:letters")
CHANGELIST = reverse("admin:refunds_refund_changelist")
SCRIPT = "<script>alert(1)</script>"
FIELDS = {"order": "a-1", "amount": "12.50", "reason": "It broke", "email": "ada@example.com"}
APPROVE, REJECT = {"decision": "approve", "note": "Sorry"}, {"decision": "reject", "note": ""}


@pytest.fixture
def refund(work: Work) -> Refund:
    """A refund that waits for a decision."""
    return asked(work)


def asked(work: Work, order: str = "A-1") -> Refund:
    from .test_refund_jobs import asked as wait_for_decision

    return wait_for_decision(work, order)


def link_to(refund: Refund) -> str:
    letter = Letter.objects.get(about=f"refund {refund.pk}", to="approver@example.com")
    found = re.search(r"http://testserver(\S+)", letter.body)
    assert found is not None
    return found[1]


def outcome(answer: Any) -> tuple[int, str]:
    """The status of a page, and its one sentence."""
    found = re.search(r'id="sentence">([^<]*)<', answer.content.decode())
    return answer.status_code, found[1] if found else ""


def user_who_may(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def act(client: Client, action: str, *refunds: Refund) -> list[str]:
    """Press an action of the admin's list; return what it says."""
    fields = {"action": action, "_selected_action": [one.pk for one in refunds]}
    answer = client.post(CHANGELIST, fields, follow=True)
    return [str(message) for message in answer.context["messages"]]


class TestRequesting:
    def test_strangers_are_asked_to_log_in(self, client: Client) -> None:
        for answer in (client.get(PAGE), client.post(REQUEST, FIELDS), client.get(POST), client.get(f"{PAGE}1/")):
            assert answer["Location"].startswith(reverse("admin:login"))
        assert not Refund.objects.exists()

    def test_each_page_has_its_permission(self, client: Client) -> None:
        user_who_may(client, "view_refund")
        assert client.get(PAGE).status_code == 200
        assert {client.post(REQUEST, FIELDS).status_code, client.get(POST).status_code} == {403}

    def test_a_form_makes_a_refund_and_a_second_press_none(self, demo: Client) -> None:
        first, second = (demo.post(REQUEST, FIELDS, follow=True) for _ in range(2))
        assert (Refund.objects.get().order, get_queue().count_jobs()) == ("A-1", 1)
        assert first.request["PATH_INFO"] == second.request["PATH_INFO"]
        assert "asked for this before" in second.content.decode()

    def test_somebody_elses_wish_is_refused(self, demo: Client) -> None:
        demo.post(REQUEST, FIELDS)
        answer = demo.post(REQUEST, {**FIELDS, "email": "eve@example.com"})
        assert answer.status_code == 409
        assert "ada@" not in answer.content.decode().partition("Latest refunds")[0]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"order": ""},
            {"order": "a b"},
            {"order": "x" * 41},
            {"amount": "0"},
            {"amount": "-1"},
            {"amount": "NaN"},
            {"amount": "1e9"},
            {"amount": "0.001"},
            {"email": "ada"},
            {"reason": "x" * 501},
            {"reason": "a\0b"},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, demo: Client, wrong: dict[str, str]) -> None:
        assert demo.post(REQUEST, {**FIELDS, **wrong}).status_code == 400
        assert not Refund.objects.exists()

    def test_it_takes_a_post_and_a_csrf_token(self, demo: Client) -> None:
        assert demo.get(REQUEST).status_code == 405
        assert Client(enforce_csrf_checks=True).post(REQUEST, FIELDS).status_code == 403

    def test_what_a_customer_writes_is_text(self, demo: Client, work: Work) -> None:
        demo.post(REQUEST, {**FIELDS, "reason": SCRIPT})
        work()
        refund = Refund.objects.get()
        for url in (refund.get_absolute_url(), POST, link_to(refund)):
            page = demo.get(url).content.decode()
            assert "&lt;script&gt;" in page, url
            assert "<script" not in page, url

    def test_looking_changes_nothing(self, demo: Client, refund: Refund) -> None:
        before = rows_of_every_table()
        for url in (PAGE, POST, f"{POST}?about=refund+1%00", refund.get_absolute_url(), link_to(refund)):
            assert demo.get(url).status_code == demo.head(url).status_code == 200
        assert rows_of_every_table() == before
        assert demo.get(f"{PAGE}999/").status_code == 404


class TestLinks:
    """A link needs no login, and opens one decision on one refund once."""

    def test_a_post_approves(self, client: Client, refund: Refund, work: Work) -> None:
        link = link_to(refund)
        page = client.get(link)
        assert "wants 12.50 back for order A-1" in page.content.decode()
        assert "no-store" in page["Cache-Control"]
        assert outcome(client.post(link, APPROVE)) == (200, f"{refund} is approved.")
        work_to_the_end(work, refund.job_id)
        refund.refresh_from_db()
        assert (refund.state, refund.note) == (RefundState.REFUNDED, "Sorry")
        assert refund.decided_by == "approver@example.com (link)"
        assert LedgerEntry.objects.count() == 1

    def test_a_decision_needs_its_csrf_token(self, refund: Refund) -> None:
        assert Client(enforce_csrf_checks=True).post(link_to(refund), APPROVE).status_code == 403
        assert get_queue().get_token(refund.token_id).status == "waiting"  # type: ignore[union-attr]

    def test_a_used_one_says_who_decided(self, client: Client, refund: Refund, work: Work) -> None:
        link = link_to(refund)
        client.post(link, APPROVE)
        told = f"{refund} was approved already, by approver@example.com (link) on "
        for closed in (False, True):
            for answer in (client.post(link, REJECT), client.post(link, APPROVE), client.get(link)):
                status, sentence = outcome(answer)
                assert (status, sentence.startswith(told)) == (409, True), closed
                assert "<button" not in answer.content.decode()
            work_to_the_end(work, refund.job_id)
        assert LedgerEntry.objects.count() == 1

    def test_an_expired_one_says_that_it_is_too_late(self, client: Client, work: Work, settings: Any) -> None:
        settings.REFUND_APPROVAL_TIMEOUT = 0.3
        refund = asked(work)
        link = link_to(refund)
        while client.get(link).status_code == 200:
            pass
        for _ in range(2):  # before its job knows, and after
            for answer in (client.get(link), client.post(link, APPROVE)):
                status, sentence = outcome(answer)
                assert (status, sentence.startswith("It is too late")) == (410, True)
            work_to_the_end(work, refund.job_id)
        assert not LedgerEntry.objects.exists()

    def test_a_tampered_one_is_refused(self, client: Client, refund: Refund) -> None:
        link = link_to(refund)
        signed = link.rstrip("/").rpartition("/")[2]
        value, time, signature = signed.split(":")
        wrong = [
            signed[:-1] + ("A" if signed[-1] != "A" else "B"),
            f"{value}:{time}",
            f"{value}:1zzzzz:{signature}",
            f"x{value}:{time}:{signature}",
            value,
            "x",
            ":::",
            "ä\N{SNOWMAN}",
            "%00",
            "a" * 5000,
        ]
        for one in wrong:
            for answer in (client.get(f"{PAGE}decide/{one}/"), client.post(f"{PAGE}decide/{one}/", APPROVE)):
                assert outcome(answer) == (400, "This link is not complete, or not one that we sent."), one

    def test_one_that_was_signed_for_something_else_is_refused(self, client: Client, refund: Refund) -> None:
        claim = {"refund": refund.pk, "token": refund.token_id, "approver": "eve@example.com"}
        for signer in (signing.TimestampSigner(), signing.TimestampSigner(salt=other_links.signer.salt)):
            answer = client.post(reverse("refunds:decide", args=[signer.sign_object(claim)]), APPROVE)
            assert answer.status_code == 400
        unsubscribe = other_links.unsubscribe_path(refund.pk).rstrip("/").rpartition("/")[2]
        assert client.get(reverse("refunds:decide", args=[unsubscribe])).status_code == 400

    def test_a_link_reaches_no_other_refund(self, client: Client, refund: Refund, work: Work) -> None:
        other = asked(work, "A-2")
        crossed = links.decision_path(other.pk, refund.token_id, "approver@example.com")
        assert outcome(client.post(crossed, APPROVE))[0] == 404
        client.post(link_to(refund), {**APPROVE, "refund": other.pk, "token": other.token_id})
        statuses = [get_queue().get_token(one.token_id).status for one in (refund, other)]  # type: ignore[union-attr]
        assert statuses == ["completed", "waiting"]

    def test_an_old_one_is_refused(self, client: Client, refund: Refund, settings: Any) -> None:
        long_ago = signing.time.time() - settings.REFUND_LINK_SECONDS - 1
        with mock.patch("django.core.signing.time.time", return_value=long_ago):
            old = links.decision_path(refund.pk, refund.token_id, "approver@example.com")
        assert outcome(client.post(old, APPROVE)) == (410, "This link is too old to decide by.")

    @pytest.mark.parametrize("fields", [{}, {"decision": "maybe"}, {"decision": "approve", "note": "x" * 501}])
    def test_what_is_no_decision_is_asked_again(self, client: Client, refund: Refund, fields: dict[str, str]) -> None:
        answer = client.post(link_to(refund), fields)
        assert answer.status_code == 400
        assert "<button" in answer.content.decode()
        assert "errorlist" in answer.content.decode()

    def test_other_methods_are_refused(self, client: Client, refund: Refund) -> None:
        assert client.put(link_to(refund)).status_code == 405


class TestAdmin:
    """The same decision, by those who may."""

    def test_who_may_decide_approves_and_rejects_with_a_log(self, client: Client, work: Work) -> None:
        refunds = [asked(work), asked(work, "A-2")]
        user_who_may(client, "view_refund", "decide_refund")
        assert act(client, "approve_selected", refunds[0]) == [f"{refunds[0]} is approved."]
        assert act(client, "reject_selected", refunds[1]) == [f"{refunds[1]} is rejected."]
        entries = LogEntry.objects.order_by("id").values_list("object_id", "change_message", "user__username")
        assert list(entries) == [
            (str(refunds[0].pk), "Approved.", "somebody"),
            (str(refunds[1].pk), "Rejected.", "somebody"),
        ]
        for refund in refunds:
            work_to_the_end(work, refund.job_id)
            refund.refresh_from_db()
        assert [refund.state for refund in refunds] == [RefundState.REFUNDED, RefundState.REJECTED]
        assert refunds[0].decided_by == f"user {User.objects.get().pk} somebody"

    def test_the_second_is_told_who_was_first(self, client: Client, refund: Refund) -> None:
        link = link_to(refund)
        client.post(link, REJECT)
        user_who_may(client, "view_refund", "decide_refund")
        (told,) = act(client, "approve_selected", refund)
        assert told.startswith(f"{refund} was rejected already, by approver@example.com (link) on ")
        assert not LogEntry.objects.exists()

    def test_one_that_is_not_asked_for_yet_is_skipped(self, client: Client) -> None:
        refund = Refund.objects.create(order="A", amount=1, reason="", email="a@example.com")
        user_who_may(client, "view_refund", "decide_refund")
        assert act(client, "approve_selected", refund) == [f"{refund} waits for no decision."]

    def test_who_may_only_look_decides_nothing(self, client: Client, refund: Refund) -> None:
        user_who_may(client, "view_refund")
        assert "approve_selected" not in client.get(CHANGELIST).content.decode()
        act(client, "approve_selected", refund)
        assert get_queue().get_token(refund.token_id).status == "waiting"  # type: ignore[union-attr]
        change = reverse("admin:refunds_refund_change", args=[refund.pk])
        assert (client.get(change).status_code, client.post(change, FIELDS).status_code) == (200, 403)

    def test_too_many_at_once_are_refused(self, client: Client) -> None:
        fields = {"amount": 1, "reason": "", "email": "a@example.com"}
        refunds = Refund.objects.bulk_create(Refund(order=f"A{n}", **fields) for n in range(MOST + 1))
        user_who_may(client, "view_refund", "decide_refund")
        assert act(client, "approve_selected", *refunds) == [
            f"More than {MOST} refunds are selected; nothing was done."
        ]

    def test_everything_is_only_looked_at(self, admin_client: Client, refund: Refund) -> None:
        for name in ("refunds_ledgerentry", "refunds_banktransfer", "post_letter", "onboarding_person"):
            assert admin_client.get(reverse(f"admin:{name}_changelist")).status_code == 200
            assert admin_client.get(reverse(f"admin:{name}_add")).status_code == 403
        letter = Letter.objects.get()
        assert (
            admin_client.post(reverse("admin:post_letter_delete", args=[letter.pk]), {"post": "yes"}).status_code == 403
        )
