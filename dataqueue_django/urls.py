"""What a platform's cron and monitoring call: `path("dataqueue/", include("dataqueue_django.urls"))`.

Everything but the public answer of `health` is closed until DATAQUEUE_CRON_SECRET is set.
"""

from __future__ import annotations

from django.urls import path

from .endpoints import health, metrics, tasks

app_name = "dataqueue"

urlpatterns = [
    path("process", tasks.process, name="process"),
    path("reclaim", tasks.reclaim, name="reclaim"),
    path("cleanup", tasks.cleanup, name="cleanup"),
    path("expire", tasks.expire, name="expire"),
    path("maintenance", tasks.maintenance, name="maintenance"),
    path("health", health.health, name="health"),
    path("metrics", metrics.metrics, name="metrics"),
]
