"""The link in a letter by which one person may decide on one refund, without a login.

It is signed with a salt of its own, so no other signature of the site passes for it, and names the refund, the very
token that the decision completes, and to whom it was sent.
"""

from __future__ import annotations

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.urls import reverse

from .models import Refund

signer = TimestampSigner(salt="example_project.refunds.decision")


class BadLink(Exception):
    """A link that opens nothing; the message is meant for whoever followed it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def decision_path(refund_id: int, token_id: str, approver: str) -> str:
    """Return the path of the page that asks for a decision."""
    signed = signer.sign_object({"refund": refund_id, "token": token_id, "approver": approver})
    return reverse("refunds:decide", args=[signed])


def read(signed: str) -> tuple[Refund, str]:
    """Return the refund that a link is about, and to whom it was sent; raises BadLink."""
    try:
        claim = signer.unsign_object(signed, max_age=settings.REFUND_LINK_SECONDS)
    except SignatureExpired:
        raise BadLink("This link is too old to decide by.", 410) from None
    except BadSignature:
        raise BadLink("This link is not complete, or not one that we sent.", 400) from None
    refund = Refund.objects.filter(pk=claim["refund"], token_id=claim["token"]).first()
    if refund is None:
        raise BadLink("This link belongs to a refund that is not there any more.", 404)
    return refund, claim["approver"]
