"""The queue for Prometheus."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from ..exceptions import ConfigurationError
from .guard import endpoint, sentence


@endpoint("GET", "HEAD")
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the gauges of every alias, and the counters of this process."""
    try:
        from ..metrics import exposition  # needs a library that not every project has
    except ConfigurationError as why:
        return sentence(404, str(why))
    content, content_type = exposition()
    return HttpResponse(content, content_type=content_type)
