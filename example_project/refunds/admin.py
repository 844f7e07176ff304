"""Refunds in the admin: looked at, and decided on by those who may."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from example_project.looking import LookedAt

from .deciding import Decision, decide
from .models import BankTransfer, LedgerEntry, Refund

MOST = 100
"""Refunds that one action takes: each is a transaction of its own, within one request."""


@admin.register(Refund)
class RefundAdmin(LookedAt):
    """Refunds; a decision here and one by a link are the same decision."""

    list_display = ["__str__", "order", "amount", "email", "state", "decided_by", "created_at"]
    list_filter = ["state"]
    search_fields = ["order", "email"]
    actions = ["approve_selected", "reject_selected"]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may decide."""
        return request.user.has_perm("refunds.decide_refund")

    @admin.action(description="Approve selected refunds", permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        """Approve those that wait for a decision."""
        self._decide(request, queryset, Decision(approve=True))

    @admin.action(description="Reject selected refunds", permissions=["decide"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        """Reject those that wait for a decision."""
        self._decide(request, queryset, Decision(approve=False))

    def _decide(self, request: HttpRequest, queryset: QuerySet[Refund], decision: Decision) -> None:
        refunds = list(queryset[: MOST + 1])
        if len(refunds) > MOST:
            self.message_user(request, f"More than {MOST} refunds are selected; nothing was done.", messages.ERROR)
            return
        for refund in refunds:
            completed, sentence = self._decide_one(request, refund, decision)
            self.message_user(request, sentence, messages.SUCCESS if completed else messages.WARNING)

    @staticmethod
    def _decide_one(request: HttpRequest, refund: Refund, decision: Decision) -> tuple[Any, str]:
        """Decide and write the admin's log in one transaction; who comes second leaves no entry."""
        actor = f"user {request.user.pk} {request.user.get_username()}"
        with transaction.atomic():
            completed, sentence = decide(refund, decision, actor)
            if completed:
                LogEntry.objects.log_actions(
                    user_id=cast(int, request.user.pk),
                    queryset=cast("QuerySet[Any]", [refund]),
                    action_flag=CHANGE,
                    change_message=f"{decision.word.capitalize()}.",
                )
        return completed, sentence


@admin.register(LedgerEntry)
class LedgerEntryAdmin(LookedAt):
    """What was booked."""

    list_display = ["refund", "amount", "transfer", "booked_at"]
    list_select_related = ["refund"]


@admin.register(BankTransfer)
class BankTransferAdmin(LookedAt):
    """What the bank has paid, and how often it was asked to."""

    list_display = ["__str__", "payee", "amount", "times_asked", "created_at"]
