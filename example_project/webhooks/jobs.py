"""Delivering one event. Each host is a group of jobs: hosts take turns, and a limit holds for each by itself.

The limit keeps us from asking a host too much; what a host says goes beyond that: told to come back later, nothing more
begins for this host until then, while the others go on. It costs the delivery no attempt.
"""

from __future__ import annotations

import time

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from dataqueue_django import GiveUp, JobContext, RateLimited, get_queue, job

from .addresses import BadAddress, host_of
from .models import Delivery, Outcome
from .posting import Answer, NoAnswer, post
from .signing import HEADER, signature

JOB_TYPE = "webhooks.deliver"
TAG = "webhooks"
AT_ONCE, PER_SECOND = 2, 5
"""For each host; `limit_hosts` sets it, and people may set another one."""

LATER = (429, 503)
"""The answers that put a delivery off."""


@job(JOB_TYPE, takes_context=True, max_attempts=4, retry_delay=1, timeout=60, give_up_on=Delivery.DoesNotExist)
def deliver(ctx: JobContext, delivery_id: int) -> None:
    """Send one event to its address until it is taken, refused, or has failed too often."""
    delivery = Delivery.objects.get(pk=delivery_id)
    answer = _send(delivery)
    if answer.status in LATER:
        wait = answer.wait(time.time())
        Delivery.objects.filter(pk=delivery.pk).update(times_put_off=F("times_put_off") + 1)
        raise RateLimited(wait, f"The host answered {answer.status}: not for {wait:g} s.")
    if answer.status >= 500:
        raise NoAnswer(f"The host answered {answer.status}.")
    if not 200 <= answer.status < 300:  # a redirect, too: who moves tells us
        _close(delivery, Outcome.REFUSED, str(answer.status))
        raise GiveUp(f"The host answered {answer.status}.")
    ctx.atomic_finish(lambda: _close(delivery, Outcome.DELIVERED, str(answer.status)))


def send(url: str, bodies: list[str]) -> list[Delivery]:
    """Store deliveries and their jobs in one transaction; raises BadAddress."""
    host = host_of(url)
    with transaction.atomic():
        made = [Delivery.objects.create(url=url, host=host, body=body) for body in bodies]
        for delivery in made:
            delivery.job_id = deliver.using(group_id=host, tags=[TAG]).enqueue(delivery_id=delivery.pk).id
        Delivery.objects.bulk_update(made, ["job_id"])
    return made


def limit_hosts() -> None:
    """Set the limit of each host, unless there is one."""
    queue = get_queue()
    if not any(limit.job_type == JOB_TYPE and limit.per_group for limit in queue.get_limits()):
        queue.set_limit(
            job_type=JOB_TYPE, per_group=True, concurrency=AT_ONCE, rate=PER_SECOND, per=1, actor="Fieldbook"
        )


def _send(delivery: Delivery) -> Answer:
    body = delivery.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Fieldbook",
        "X-Fieldbook-Delivery": str(delivery.pk),  # one that comes twice is known by it
        HEADER: signature(settings.WEBHOOK_SECRET, body, int(time.time())),
    }
    try:
        return post(delivery.url, body, headers)
    except BadAddress as why:
        _close(delivery, Outcome.REFUSED, str(why))
        raise GiveUp(str(why)) from None


def _close(delivery: Delivery, outcome: Outcome, answer: str) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(outcome=outcome, answer=answer[:200], closed_at=timezone.now())
