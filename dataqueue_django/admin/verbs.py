"""What people may do to rows: each verb asks first, asks for a permission of its own, and goes through JobQueue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import django
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext

from .. import conf
from ..queue import JobQueue, get_queue
from .base import QueueModelAdmin
from .searching import as_id
from .states import Text

MOST = 1_000
"""Rows that one action takes; each is a transaction of its own, within one request."""

ACTOR_LENGTH = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One thing that can be done to a row."""

    name: str
    title: Text
    question: Text
    sure: Text
    done: Text
    permission: str = ""
    """The verb of the permission, where it is called otherwise."""
    flag: int = CHANGE
    is_grave: bool = False
    asks_why: bool = False

    @property
    def needs(self) -> str:
        """The verb of the permission that it takes."""
        return self.permission or self.name


class ActsOnRows(QueueModelAdmin):
    """Actions of the list and buttons of the page. Hidden without permission, and refused as well.

    Subclasses say the `verbs`, whom they fit, and carry them out.
    """

    verbs: ClassVar[Mapping[str, Verb]] = {}
    action_limit = MOST

    @property
    def queue(self) -> JobQueue:
        """The queue whose rows are shown."""
        return get_queue(conf.home_alias())

    def key_from(self, text: str) -> Any:
        """Return the key that a text writes, or None when it cannot be that of any row."""
        return as_id(text)

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return whether the state of a row lets it."""
        raise NotImplementedError

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """Do it through the queue and return what is said of it; None when the row was in no state for it, or gone."""
        raise NotImplementedError

    def called(self, row: Any) -> str:
        """Return how sentences call a row."""
        return str(row)

    def described(self, row: Any) -> Text:
        """Return the line that tells which row a question is about."""
        raise NotImplementedError

    def refusal(self, verb: Verb, row: Any) -> str:
        """Return why a verb does not fit a row."""
        return gettext("%(name)s is not in a state for this.") % {"name": capfirst(self.called(row))}

    # -- permissions

    def may(self, request: HttpRequest, verb: str) -> bool:
        """Return whether the user may do this; what one may not see one may not touch."""
        needed = f"{self.opts.app_label}.{verb}_{self.opts.model_name}"
        return self.has_view_permission(request) and request.user.has_perm(needed)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may delete rows."""
        return self.may(request, "delete")

    # -- the list

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions; deleting what is selected would go past the queue, so it is none of them.

        Django passes the location by name from 6.1 on.
        """
        where = {} if action_location is None else {"action_location": action_location}
        found = super().get_actions(request, **where)
        return {name: action for name, action in found.items() if name != "delete_selected"}

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Carry out an action on what is selected; what cannot be a key is not selected."""
        post = request.POST.copy()
        selected = post.getlist(ACTION_CHECKBOX_NAME)
        post.setlist(ACTION_CHECKBOX_NAME, [one for one in selected if self.key_from(one) is not None])
        request.POST = post  # type: ignore[assignment]
        return super().response_action(request, *args, **kwargs)

    def say_done(self, request: HttpRequest, told: list[str], skipped: int) -> None:
        """Tell what an action did to how many, and how many it left alone."""
        done = ", ".join(told)
        if not skipped:
            self.message_user(request, f"{done}.", messages.SUCCESS)
            return
        text = gettext("%(done)s, %(skipped)d skipped: not in a state for it.") % {"done": done, "skipped": skipped}
        self.message_user(request, text, messages.WARNING)

    def say(self, request: HttpRequest, row: Any, told: Text) -> None:
        """Tell what was done to one row."""
        text = str(told)
        said = {"name": capfirst(self.called(row)), "done": text[:1].lower() + text[1:]}
        self.message_user(request, gettext("%(name)s: %(done)s") % said, messages.SUCCESS)

    # -- one row

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of a verb on one row."""
        do = path(
            "<path:object_id>/do/<slug:verb>/",
            self.admin_site.admin_view(self.act_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_action",
        )
        return [do, *super().get_urls()]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete one row through the queue, after asking."""
        return self.act_view(request, object_id, "delete")

    def act_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Ask whether to do something to a row; do it when that was answered by POST."""
        if verb not in self.verbs:
            raise Http404
        if not self.may(request, self.verbs[verb].needs):
            raise PermissionDenied
        key = self.key_from(unquote(object_id))
        row = None if key is None else self.get_object(request, str(key))
        if row is None:
            return self.gone(request)
        return self.answer(request, self.verbs[verb], row)

    def answer(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        """Answer a request to do something to a row that there is, by somebody who may."""
        return self._act(request, verb, row) if request.method == "POST" else self._ask(request, verb, row)

    def open_verbs(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """Return what this user may do to this row in its state."""
        return [
            {"title": verb.title, "url": self.page("action", quote(row.pk), verb.name)}
            for verb in self.verbs.values()
            if self.fits(verb, row) and self.may(request, verb.needs)
        ]

    def gone(self, request: HttpRequest) -> HttpResponse:
        """Say that there is no such row."""
        text = gettext("This %(kind)s does not exist any more.") % {"kind": self.opts.verbose_name}
        self.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(self.page("changelist"))

    def page(self, page: str, *args: Any) -> str:
        """Return the address of a page of this model."""
        return self.url(f"{self.opts.model_name}_{page}", *args)

    def log(self, request: HttpRequest, rows: Iterable[Any], flag: int, text: Text) -> None:
        """Write the admin's own log, beside what the queue keeps."""
        LogEntry.objects.log_actions(
            user_id=cast(int, request.user.pk),
            queryset=cast("QuerySet[Any]", rows),
            action_flag=flag,
            change_message=str(text),
        )

    def _ask(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("%(verb)s %(name)s?") % {"verb": verb.title, "name": self.called(row)},
            "verb": verb,
            "described": self.described(row),
            "refusal": "" if self.fits(verb, row) else self.refusal(verb, row),
            "opts": self.opts,
            "name": str(row),
            "listed_crumbs": django.VERSION >= (6, 1),
            "media": self.media,
            "list": self.page("changelist"),
            "back": self.page("change", quote(row.pk)),
        }
        return TemplateResponse(request, "admin/dataqueue/act.html", context)

    def _act(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        told = self.carry_out(request, verb, row) if self.fits(verb, row) else None
        if told is None:
            refused = gettext("%(name)s is not in a state for it; nothing was changed.")
            self.message_user(request, refused % {"name": capfirst(self.called(row))}, messages.WARNING)
            return HttpResponseRedirect(self.page("change", quote(row.pk)))
        self.log(request, [row], verb.flag, told)
        self.say(request, row, told)
        gone = verb.flag == DELETION
        return HttpResponseRedirect(self.page("changelist") if gone else self.page("change", quote(row.pk)))


def actor_of(request: HttpRequest) -> str:
    """Return who asks, as events keep it: the user's key, which never changes, and name."""
    return f"user {request.user.pk} {request.user.get_username()}"[:ACTOR_LENGTH]
