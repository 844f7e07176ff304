"""The forms of pauses and limits. They say what JobQueue is asked for; whether that can be is for the queue to say."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from . import fields


class ScopeForm(forms.Form):
    """A queue, a job type, or both."""

    queue = fields.text(_("Queue"), _("Empty for any."), required=False)
    job_type = fields.text(_("Job type"), _("Empty for any."), required=False)

    def scope(self) -> dict[str, str | None]:
        """Return the queue and the job type, None for any."""
        return {name: self.cleaned_data[name] or None for name in ("queue", "job_type")}


class PauseForm(ScopeForm):
    """What is to be paused, why and until when."""

    everything = forms.BooleanField(label=_("Everything: every queue and job type"), required=False)
    reason = fields.text(_("Reason"), _("It is kept, and shown with the state."), required=False)
    until = fields.moment(_("Until"))

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        here = gettext("Empty for until it is resumed. In the time zone %(zone)s.")
        self.fields["until"].help_text = here % {"zone": timezone.get_current_timezone_name()}

    def clean(self) -> dict[str, Any]:
        """Refuse an empty scope, unless everything is asked for."""
        found = super().clean() or {}
        if not self.errors and bool(found.get("everything")) is bool(found["queue"] or found["job_type"]):
            raise forms.ValidationError(gettext("Name a queue or a job type, or else choose everything."))
        return found


class LimitForm(ScopeForm):
    """What is limited, and how."""

    per_group = forms.BooleanField(
        label=_("Each group by itself"), required=False, help_text=_("Otherwise all jobs together.")
    )
    group_id = fields.text(_("Group"), _("For one group alone, in the place of the limit of each."), required=False)
    concurrency = fields.whole(_("At once"), _("How many run at once; 0 lets none begin."))
    rate = fields.whole(_("Rate"), _("How many begin within any time of the length below."))
    per = fields.seconds(_("Within"))
    burst = fields.whole(_("Burst"), _("How many may begin at once, while permits of the rate come back evenly."))
    max_size = fields.whole(_("Waiting"), _("How many jobs of a group may wait; adding another is refused."))

    def wanted(self) -> dict[str, Any]:
        """Return what `set_limit` is asked for."""
        return {**self.cleaned_data, **self.scope(), "group_id": self.cleaned_data["group_id"] or None}
