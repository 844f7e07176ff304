"""Whether the queue is well, for load balancers and monitoring."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from ..domain.health import HealthStatus, as_json
from ..queue.checking import MOST_SECONDS, MOST_WORKERS
from .asking import Read, alias, asked, number, queue_of, whole_number
from .guard import endpoint, is_trusted, sentence

LIMITS: dict[str, Read] = {
    "maxOldest": number(0, MOST_SECONDS),
    "maxFailedRate": number(0, 1),
    "minWorkers": whole_number(0, MOST_WORKERS),
}


@endpoint("GET", "HEAD", public=True)
def health(request: HttpRequest) -> HttpResponse:
    """Answer 200 or 503: to everybody whether the store answers, with the secret also what is wrong and why."""
    if not is_trusted(request):
        return _to_anybody(request)
    given = asked(request, {"alias": alias, **LIMITS})
    found = queue_of(given).get_health(
        max_oldest=given.get("maxOldest"),
        max_failed_rate=given.get("maxFailedRate"),
        min_workers=given.get("minWorkers"),
    )
    return JsonResponse(as_json(found), status=200 if found.status is HealthStatus.OK else 503)


def _to_anybody(request: HttpRequest) -> HttpResponse:
    if request.GET:
        return sentence(401, "Unauthorized", **{"WWW-Authenticate": "Bearer"})
    queue_of({}).ping()
    return JsonResponse({"status": HealthStatus.OK.value})
