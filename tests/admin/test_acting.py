"""Cancelling, retrying and deleting: by permission, through the queue, with a trace, and only by POST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.test import Client

from dataqueue_django.admin import acting
from dataqueue_django.domain.records import EventType, JobStatus
from dataqueue_django.models import Job
from dataqueue_django.queue import JobQueue
from tests.admin.pages import LIST, page_of, said, staff

VERBS = ("retry", "cancel", "delete")


def a_job(queue: JobQueue, status: str = "pending") -> int:
    """Return the id of a new job; what is not pending was put there by hand."""
    job_id = queue.add_job("t", allow_unknown=True)
    if status == "cancelled":
        queue.cancel_job(job_id)
    elif status != "pending":
        odd = int(status == "processing")
        Job.objects.using(queue.store.database).filter(pk=job_id).update(  # type: ignore[attr-defined]
            status=status, claim_seq=2 + odd, ready_at=None, stage=None
        )
    return job_id


def do(client: Client, action: str, ids: list[int], query: str = "", **more: Any) -> Any:
    """Post an action of the list and return the page that follows."""
    data = {"action": f"{action}_selected", "_selected_action": ids, **more}
    return client.post(LIST + query, data, follow=True)


def status_of(queue: JobQueue, job_id: int) -> JobStatus:
    """Return a job's status."""
    job = queue.get_job(job_id)
    assert job is not None
    return job.status


# -- the list


def test_cancelling_and_retrying_the_selected(client: Client, queue: JobQueue, admin_user: Any) -> None:
    ids = [a_job(queue) for _ in range(3)]
    answer = do(client, "cancel", ids[:2])
    assert said(answer) == ["2 cancelled."]
    assert [status_of(queue, id).value for id in ids] == ["cancelled", "cancelled", "pending"]
    answer = do(client, "retry", ids[:1])
    assert said(answer) == ["1 retried."]
    last = queue.get_job_events(ids[0])[-1]
    assert (last.event_type, last.actor) == (EventType.RETRIED, f"user {admin_user.pk} {admin_user.username}")
    logged = LogEntry.objects.order_by("pk").values_list("object_id", "change_message", "user_id")
    assert list(logged) == [
        (str(ids[1]), "Cancelled.", admin_user.pk),
        (str(ids[0]), "Cancelled.", admin_user.pk),
        (str(ids[0]), "Retried.", admin_user.pk),
    ]


def test_jobs_that_have_moved_on_are_skipped(client: Client, queue: JobQueue) -> None:
    ids = [a_job(queue, status) for status in ("failed", "failed", "failed", "processing", "completed")]
    assert said(do(client, "retry", ids)) == ["3 retried, 2 skipped: not in a state for it."]
    assert said(do(client, "retry", ids)) == ["0 retried, 5 skipped: not in a state for it."]
    assert LogEntry.objects.count() == 3
    assert [len(queue.get_job_events(id)) for id in ids] == [2, 2, 2, 1, 1]


def test_a_strict_queue_skips_as_well(client: Client, queue: JobQueue, settings: Any) -> None:
    job_id = a_job(queue, "completed")
    settings.DATAQUEUE = {"default": {**settings.DATAQUEUE["default"], "STRICT": True}}
    assert said(do(client, "cancel", [job_id])) == ["0 cancelled, 1 skipped: not in a state for it."]
    answer = client.post(page_of(job_id, "cancel"), follow=True)
    assert said(answer) == [f"Job {job_id} is not in a state for it; nothing was changed."]


def test_jobs_that_are_gone_are_no_error(client: Client, queue: JobQueue) -> None:
    assert do(client, "cancel", [4711]).status_code == 200


@pytest.mark.parametrize("ids", [["x"], ["99999999999999999999999"], ["1\0"], ["1; DROP TABLE"]])
def test_what_is_selected_need_not_be_an_id(client: Client, queue: JobQueue, ids: list[Any]) -> None:
    job_id = a_job(queue)
    assert do(client, "cancel", ids).status_code == 200
    assert status_of(queue, job_id) is JobStatus.PENDING


def test_everything_that_matches(client: Client, queue: JobQueue) -> None:
    ids = [a_job(queue) for _ in range(60)]
    other = queue.add_job("t", queue="other", allow_unknown=True)
    answer = do(client, "cancel", ids[:1], "?queue=default&after=30", select_across="1")
    assert said(answer) == ["60 cancelled."]
    assert status_of(queue, other) is JobStatus.PENDING


def test_more_than_an_action_takes_is_refused(client: Client, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [a_job(queue) for _ in range(4)]
    monkeypatch.setattr(acting, "MOST", 3)
    [text] = said(do(client, "cancel", ids[:1], select_across="1"))
    assert text == (
        "More than 3 jobs are selected, so nothing was done. Narrow the list, or use "
        "JobQueue.cancel_all_upcoming_jobs() in code."
    )
    assert {status_of(queue, id) for id in ids} == {JobStatus.PENDING}
    assert LogEntry.objects.count() == 0


def test_all_are_only_offered_where_an_action_takes_them(
    client: Client, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(51):
        a_job(queue)
    assert "Select all 51 jobs" in client.get(LIST).content.decode()
    monkeypatch.setattr(acting.ActsOnJobs, "action_limit", 50)
    assert "Select all 51 jobs" not in client.get(LIST).content.decode()


def test_deleting_the_selected_is_no_action(client: Client, queue: JobQueue) -> None:
    job_id = a_job(queue)
    form = client.get(LIST).context["action_form"]
    offered = {name for name, _ in form.fields["action"].choices}
    assert offered == {"", "retry_selected", "cancel_selected", "pause_selected", "resume_selected"}
    client.post(LIST, {"action": "delete_selected", "_selected_action": [job_id], "post": "yes"})
    assert status_of(queue, job_id) is JobStatus.PENDING


# -- one job


@pytest.mark.parametrize(
    ("verb", "before", "after", "event"),
    [("retry", "failed", "pending", "retried"), ("cancel", "pending", "cancelled", "cancelled")],
)
def test_one_job(
    client: Client, queue: JobQueue, admin_user: Any, verb: str, before: str, after: str, event: str
) -> None:
    job_id = a_job(queue, before)
    url = page_of(job_id, verb)
    assert url in client.get(page_of(job_id)).content.decode()
    asked = client.get(url)
    assert "csrfmiddlewaretoken" in asked.content.decode()
    assert status_of(queue, job_id).value == before
    answer = client.post(url, follow=True)
    assert answer.redirect_chain[-1][0] == page_of(job_id)
    assert said(answer) == [f"Job {job_id}: {event}."]
    assert status_of(queue, job_id).value == after
    assert queue.get_job_events(job_id)[-1].actor == f"user {admin_user.pk} {admin_user.username}"
    assert LogEntry.objects.get().object_id == str(job_id)
    assert url not in client.get(page_of(job_id)).content.decode()


@pytest.mark.parametrize("url", ["{}delete/", "{}do/delete/"])
def test_deleting_one_job(client: Client, queue: JobQueue, url: str) -> None:
    job_id = a_job(queue)
    address = url.format(f"{LIST}{job_id}/")
    assert client.get(address).status_code == 200
    assert queue.get_job(job_id) is not None
    answer = client.post(address, follow=True)
    assert said(answer) == [f"Job {job_id}: deleted."]
    assert answer.redirect_chain[-1][0] == LIST
    assert queue.get_job(job_id) is None
    assert queue.get_job_events(job_id) == []
    assert LogEntry.objects.get().action_flag == DELETION


def test_a_running_job_is_asked_to_stop(client: Client, queue: JobQueue, admin_user: Any) -> None:
    running, ready, done = a_job(queue, "processing"), a_job(queue), a_job(queue, "completed")
    assert said(do(client, "cancel", [running])) == ["1 asked to stop."]
    expected = "1 cancelled, 1 asked to stop, 1 skipped: not in a state for it."
    assert said(do(client, "cancel", [running, ready, done])) == [expected]
    [request] = queue.get_cancel_requests([running, ready, done])
    assert (request.id, request.actor) == (running, f"user {admin_user.pk} {admin_user.username}")
    assert status_of(queue, running) is JobStatus.PROCESSING
    messages = LogEntry.objects.filter(object_id=str(running)).values_list("change_message", flat=True)
    assert set(messages) == {"Asked to stop."}


def test_the_button_asks_a_running_job_to_stop(client: Client, queue: JobQueue) -> None:
    job_id = a_job(queue, "processing")
    answer = client.post(page_of(job_id, "cancel"), follow=True)
    assert said(answer) == [f"Job {job_id}: asked to stop."]
    assert [request.id for request in queue.get_cancel_requests([job_id])] == [job_id]


def test_a_running_job_is_not_deleted(client: Client, queue: JobQueue) -> None:
    job_id = a_job(queue, "processing")
    assert "not in a state for this" in client.get(page_of(job_id, "delete")).content.decode()
    answer = client.post(page_of(job_id, "delete"), follow=True)
    assert said(answer) == [f"Job {job_id} is not in a state for it; nothing was changed."]
    assert status_of(queue, job_id) is JobStatus.PROCESSING
    assert LogEntry.objects.count() == 0


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("object_id", ["4711", "x", "99999999999999999999", "_00", "-1"])
def test_a_job_that_is_gone(client: Client, queue: JobQueue, verb: str, object_id: str) -> None:
    for method in (client.get, client.post):
        answer = method(f"{LIST}{object_id}/do/{verb}/", follow=True)
        assert answer.redirect_chain[-1][0] == LIST
        assert said(answer) == ["This job does not exist any more."]


def test_the_page_of_a_job_that_is_gone(client: Client, queue: JobQueue) -> None:
    for object_id in ("4711", "x", "99999999999999999999", "_00"):
        answer = client.get(f"{LIST}{object_id}/change/", follow=True)
        assert answer.status_code == 200
        assert "Perhaps it was deleted?" in said(answer)[0]


def test_verbs_that_are_none(client: Client, queue: JobQueue) -> None:
    job_id = a_job(queue)
    assert client.get(page_of(job_id, "run")).status_code == 404
    assert client.post(page_of(job_id, "explain_job")).status_code == 404


def test_pausing_and_resuming_one_job(client: Client, queue: JobQueue, admin_user: Any) -> None:
    job_id = a_job(queue)
    who = f"user {admin_user.pk} {admin_user.username}"
    assert page_of(job_id, "resume") not in client.get(page_of(job_id)).content.decode()
    asked = client.get(page_of(job_id, "pause")).content.decode()
    assert "csrfmiddlewaretoken" in asked
    assert 'name="reason"' in asked
    answer = client.post(page_of(job_id, "pause"), {"reason": " <b>later "}, follow=True)
    assert said(answer) == [f"Job {job_id}: paused."]
    job = queue.get_job(job_id)
    assert job is not None
    assert (job.pause_reason, job.paused_by) == ("<b>later", who)
    page = client.get(page_of(job_id)).content.decode()
    for words in ("&lt;b&gt;later", who, "</span> Paused</span>", page_of(job_id, "resume")):
        assert words in page
    assert "<b>later" not in page
    assert page_of(job_id, "pause") not in page
    refused = f"Job {job_id} is not in a state for it; nothing was changed."
    assert said(client.post(page_of(job_id, "pause"), follow=True)) == [refused]
    assert said(client.post(page_of(job_id, "resume"), follow=True)) == [f"Job {job_id}: resumed."]
    assert [event.event_type for event in queue.get_job_events(job_id)][-2:] == [EventType.PAUSED, EventType.UNPAUSED]
    assert said(client.post(page_of(job_id, "resume"), follow=True)) == [refused]
    assert LogEntry.objects.count() == 2


def test_a_reason_that_is_too_long_is_refused(client: Client, queue: JobQueue) -> None:
    job_id = a_job(queue)
    [told] = said(client.post(page_of(job_id, "pause"), {"reason": "x" * 1001}, follow=True))
    assert "expected a string of at most 1,000 characters" in told
    assert LogEntry.objects.count() == 0


def test_the_group_of_a_job_is_on_its_page(client: Client, queue: JobQueue) -> None:
    job_id = queue.add_job("t", group_id="acme <b>", allow_unknown=True)
    main = client.get(page_of(job_id)).content.decode().partition("collapse")[0]
    assert "acme &lt;b&gt;" in main


def test_pausing_and_resuming_the_selected(client: Client, queue: JobQueue) -> None:
    ids = [a_job(queue), a_job(queue), a_job(queue, "processing"), a_job(queue, "completed")]
    assert said(do(client, "pause", ids, reason="x" * 1001)) == ["2 paused, 2 skipped: not in a state for it."]
    text = client.get(LIST).content.decode()
    assert text.count("</span> Paused</span>") == 2
    assert said(do(client, "resume", ids[:2])) == ["2 resumed."]
    assert "</span> Paused</span>" not in client.get(LIST).content.decode()


def test_one_that_will_be_retried_is_shown_as_paused(client: Client, queue: JobQueue, database: str) -> None:
    job_id = a_job(queue, "failed")
    later = datetime.now(UTC) + timedelta(hours=5)
    Job.objects.using(database).filter(pk=job_id).update(ready_at=later, stage="later")
    queue.pause_job(job_id)
    assert "</span> Paused</span>" in client.get(LIST).content.decode()
    assert page_of(job_id, "resume") in client.get(page_of(job_id)).content.decode()
    queue.resume_job(job_id)
    assert "Retrying in" in client.get(LIST).content.decode()


def test_pausing_jobs_has_its_permission(queue: JobQueue) -> None:
    job_id = a_job(queue)
    browser = Client()
    browser.force_login(staff("view_job", "retry_job", "cancel_job", "delete_job", "pause_queue"))
    for verb in ("pause", "resume"):
        assert page_of(job_id, verb) not in browser.get(page_of(job_id)).content.decode()
        assert browser.get(page_of(job_id, verb)).status_code == 403
        assert browser.post(page_of(job_id, verb)).status_code == 403
    do(browser, "pause", [job_id])
    job = queue.get_job(job_id)
    assert job is not None
    assert job.paused_at is None
    browser.force_login(staff("view_job", "pause_job"))
    for verb in ("pause", "resume"):
        assert browser.post(page_of(job_id, verb)).status_code == 302
    assert [event.event_type for event in queue.get_job_events(job_id)][-2:] == [EventType.PAUSED, EventType.UNPAUSED]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(staff("view_job", "pause_job"))
    assert browser.post(page_of(job_id, "pause")).status_code == 403


# -- who may


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_permission_it_is_hidden_and_refused(queue: JobQueue, verb: str) -> None:
    job_id = a_job(queue, "pending" if verb != "retry" else "failed")
    others = [f"{other}_job" for other in VERBS if other != verb]
    browser = Client()
    browser.force_login(staff("view_job", *others))
    assert page_of(job_id, verb) not in browser.get(page_of(job_id)).content.decode()
    for address in (page_of(job_id, verb), f"{LIST}{job_id}/delete/"):
        if verb == "delete" or "/do/" in address:
            assert browser.get(address).status_code == 403
            assert browser.post(address).status_code == 403
    before = queue.get_job(job_id)
    do(browser, verb, [job_id])
    assert queue.get_job(job_id) == before
    form = browser.get(LIST).context["action_form"]
    assert f"{verb}_selected" not in {name for name, _ in form.fields["action"].choices}


@pytest.mark.parametrize("verb", VERBS)
def test_with_the_permission_alone_it_is_done(queue: JobQueue, verb: str) -> None:
    job_id = a_job(queue, "pending" if verb != "retry" else "failed")
    browser = Client()
    browser.force_login(staff("view_job", f"{verb}_job"))
    assert browser.post(page_of(job_id, verb)).status_code == 302
    found = queue.get_job(job_id)
    assert found is None or found.status.value == {"retry": "pending", "cancel": "cancelled"}[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_what_one_may_not_see_one_may_not_touch(queue: JobQueue, verb: str) -> None:
    job_id = a_job(queue)
    browser = Client()
    browser.force_login(staff(f"{verb}_job"))
    assert browser.post(page_of(job_id, verb)).status_code == 403
    assert browser.get(LIST).status_code == 403


def test_a_viewer_has_no_actions(viewer: Client, queue: JobQueue) -> None:
    job_id = a_job(queue)
    answer = viewer.get(LIST)
    assert answer.context["action_form"] is None
    page = viewer.get(page_of(job_id))
    assert page.status_code == 200
    assert "dq-verb" not in page.content.decode()
    assert viewer.get("/admin/dataqueue/jobevent/").status_code == 403


def test_strangers_are_sent_to_the_login(queue: JobQueue) -> None:
    job_id = a_job(queue)
    for address in (LIST, page_of(job_id), *(page_of(job_id, verb) for verb in VERBS)):
        for method in (Client().get, Client().post):
            answer = method(address)
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")
    assert status_of(queue, job_id) is JobStatus.PENDING


@pytest.mark.parametrize("verb", VERBS)
def test_a_post_from_elsewhere_is_refused(queue: JobQueue, admin_user: Any, verb: str) -> None:
    job_id = a_job(queue)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    before = queue.get_job(job_id)
    assert browser.post(page_of(job_id, verb)).status_code == 403
    assert browser.post(LIST, {"action": "cancel_selected", "_selected_action": [job_id]}).status_code == 403
    assert queue.get_job(job_id) == before
