"""The link in each letter by which its reader unsubscribes, without a login.

It is signed with a salt of its own and does not age: whoever finds an old letter may still want no more of them.
"""

from __future__ import annotations

from django.core.signing import Signer
from django.urls import reverse

from .models import Person

signer = Signer(salt="example_project.onboarding.unsubscribe")


def unsubscribe_path(person_id: int) -> str:
    """Return the path of the page that asks whether to unsubscribe."""
    return reverse("onboarding:unsubscribe", args=[signer.sign_object(person_id)])


def read(signed: str) -> Person | None:
    """Return whose link it is; None for somebody who is gone. Raises BadSignature for what we have not signed."""
    return Person.objects.filter(pk=signer.unsign_object(signed)).first()
