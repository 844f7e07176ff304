"""Who may call an endpoint, and how whatever goes wrong is answered: one sentence in JSON, never a traceback."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.db import Error, connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from .. import conf
from ..exceptions import DataQueueError, JobStateError
from ..logs import package as logger

View = Callable[..., HttpResponseBase]
Answer = Mapping[str, Any] | HttpResponse
UNREACHABLE = (Error, ConnectionError, TimeoutError)


def endpoint(*methods: str, public: bool = False) -> Callable[[Callable[[HttpRequest], Answer]], View]:
    """Return a decorator that makes a view of a function, which returns the facts of a JSON answer.

    The view takes these methods. It is behind DATAQUEUE_CRON_SECRET, unless it is `public`: then only a wrong secret is
    refused, and the function asks `is_trusted`. It needs no CSRF token and no login, is never cached, and runs outside
    of ATOMIC_REQUESTS. Under ASGI it runs in a thread, as every synchronous view does.
    """

    def decorate(function: Callable[[HttpRequest], Answer]) -> View:
        @wraps(function)
        def view(request: HttpRequest) -> HttpResponse:
            refused = _refused(request, methods, public)
            return refused or _answered(function, request)

        return _open(view)

    return decorate


def is_trusted(request: HttpRequest) -> bool:
    """Return whether a request brings the secret, as a bearer token or bare; compared in constant time."""
    secret = _secret()
    given = request.headers.get("Authorization", "")
    scheme, _, rest = given.partition(" ")
    token = rest if scheme.lower() == "bearer" else given
    return bool(secret) and hmac.compare_digest(_bytes(token.strip()), secret.encode())


def sentence(status: int, message: str, **headers: str) -> JsonResponse:
    """Return a JSON answer that says one thing."""
    return JsonResponse({"message": message}, status=status, headers=headers)


def _secret() -> str:
    return conf.project().cron_secret.strip()  # a file or variable often ends in a line break


def _bytes(token: str) -> bytes:
    """Return a header's value as it was sent: servers hand its bytes on as latin-1."""
    try:
        return token.encode("latin-1")
    except UnicodeEncodeError:
        return token.encode("utf-8", "surrogatepass")


def _refused(request: HttpRequest, methods: tuple[str, ...], public: bool) -> HttpResponse | None:
    if not public and not _secret():
        return sentence(404, "Not found: DATAQUEUE_CRON_SECRET is not set.")
    if request.method not in methods:
        return sentence(405, f"Expected {' or '.join(methods)}.", Allow=", ".join(methods))
    if is_trusted(request) or (public and "Authorization" not in request.headers):
        return None
    return sentence(401, "Unauthorized", **{"WWW-Authenticate": "Bearer"})


def _answered(function: Callable[[HttpRequest], Answer], request: HttpRequest) -> HttpResponse:
    try:
        answer = function(request)
        return answer if isinstance(answer, HttpResponse) else JsonResponse(dict(answer))
    except JobStateError as why:
        return sentence(409, str(why))
    except RequestDataTooBig:
        return sentence(413, "The body is too large; expected a small JSON object.")
    except DataQueueError as why:
        return sentence(400, str(why))
    except UNREACHABLE:
        logger.exception("the store could not be reached for %s", request.path)
        return sentence(503, "The store cannot be reached.")
    except Exception:
        logger.exception("%s failed", request.path)
        return sentence(500, "Failed; the log of the server says why.")


def _open(view: View) -> View:
    """Let a view through what a project puts in front of its pages."""
    for alias in connections:  # a transaction around it would be one around every job that it runs
        view = transaction.non_atomic_requests(alias)(view)
    opened: View = csrf_exempt(never_cache(login_not_required(view)))
    return opened
