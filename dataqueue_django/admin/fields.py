"""Fields of forms, drawn as the admin draws its own."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin import widgets
from django.utils.translation import gettext_lazy as _


def text(label: Any, help_text: Any = "", **more: Any) -> forms.CharField:
    """Return a line of text."""
    return forms.CharField(label=label, help_text=help_text, widget=widgets.AdminTextInputWidget, **more)


def seconds(label: Any, help_text: Any = "") -> forms.FloatField:
    """Return a number of seconds, which may be left empty."""
    return forms.FloatField(label=label, help_text=help_text or _("Seconds."), required=False)


def whole(label: Any, help_text: Any = "") -> forms.IntegerField:
    """Return a whole number, which may be left empty."""
    return forms.IntegerField(label=label, help_text=help_text, required=False)


def moment(label: Any) -> forms.DateTimeField:
    """Return a time in the site's zone, which may be left empty."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")
    return forms.DateTimeField(label=label, required=False, widget=widget)
