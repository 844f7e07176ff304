"""A welcome of letters days apart: each once, none after somebody has unsubscribed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dataqueue_django import JobStatus, get_queue
from dataqueue_django.models import Job as JobRow
from dataqueue_django.models import Step as StepRow
from example_project.fieldbook.models import Airport
from example_project.onboarding import jobs, links
from example_project.onboarding.lessons import LESSONS
from example_project.onboarding.models import Person
from example_project.onboarding.watching import watch
from example_project.post.models import Letter
from example_project.refunds import links as other_links

from .conftest import job_of, rows_of_every_table, work_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], None]
PAGE, SIGN_UP = reverse("onboarding:people"), reverse("onboarding:sign_up")
FIELDS = {"name": "Grace", "email": "Grace@Example.com"}
SCRIPT = "<script>alert(1)</script>"
DAY = timedelta(days=1)


@pytest.fixture
def person(demo: Client) -> Person:
    """Somebody who has just signed up."""
    assert demo.post(SIGN_UP, FIELDS).status_code == 302
    return Person.objects.get()


def subjects() -> list[str]:
    return list(Letter.objects.order_by("id").values_list("subject", flat=True))


def link_in(letter: Letter) -> str:
    found = re.search(r"http://testserver(\S+)", letter.body)
    assert found is not None
    return found[1]


def let_days_pass(person: Person) -> None:
    past = timezone.now() - timedelta(seconds=1)
    StepRow.objects.filter(job_id=person.job_id, until__gt=past).update(until=past)
    JobRow.objects.filter(id=person.job_id).update(ready_at=past)


def shown(person: Person) -> list[str]:
    return [line.word for line in watch(person).lines]


def test_letters_come_days_apart(work: Work, person: Person, demo: Client) -> None:
    assert shown(person) == ["next", "later", "later"]
    for number, days in ((1, 2), (2, 5)):
        work()
        job = job_of(person.job_id)
        assert (job.status, job.attempts, job.worker_id) == (JobStatus.WAITING, 1, None)
        assert (days - 0.1) * DAY < job.wait_until - timezone.now() <= days * DAY
        assert shown(person) == ["sent"] * number + ["next"] + ["later"] * (2 - number)
        assert watch(person).lines[number].due_at == job.wait_until
        assert 'class="due"' in demo.get(person.get_absolute_url()).content.decode()
        let_days_pass(person)
    work()
    job = job_of(person.job_id)
    assert (job.status, job.output, job.attempts) == (JobStatus.COMPLETED, {"letters": 3}, 1)
    assert subjects() == [lesson.subject for lesson in LESSONS]
    assert shown(person) == ["sent"] * 3
    assert 'http-equiv="refresh"' not in demo.get(person.get_absolute_url()).content.decode()


def test_a_day_can_be_short(work: Work, person: Person, settings: Any) -> None:
    settings.DRIP_DAY_SECONDS = 0.01
    work_to_the_end(work, person.job_id)
    assert len(subjects()) == 3


@pytest.mark.parametrize("letters", [1, 2])
def test_nothing_is_written_after_unsubscribing(work: Work, person: Person, client: Client, letters: int) -> None:
    for _ in range(letters - 1):
        work()
        let_days_pass(person)
    work()
    answer = client.post(link_in(Letter.objects.latest("id")))
    assert "has unsubscribed" in answer.content.decode()
    person.refresh_from_db()
    assert shown(person) == ["sent"] * letters + ["not sent"] * (3 - letters)
    let_days_pass(person)
    work()
    assert job_of(person.job_id).output == {"stopped_before": LESSONS[letters].name}
    assert len(subjects()) == letters


def test_a_letter_that_was_not_committed_is_written_again_with_the_same_airport(
    work: Work, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(50):
        Airport.objects.create(iata=f"Z{n:03}", name="Field", state="NY", latitude=1, longitude=1)
    real, bodies = jobs.write, list[str]()

    def failing(*args: str) -> Letter:
        letter = real(*args)
        bodies.append(letter.body)
        if len(bodies) == 1:
            raise RuntimeError("the power failed")
        return letter

    monkeypatch.setattr(jobs, "write", failing)
    while job_of(person.job_id).status != JobStatus.WAITING:
        work()
    assert len(bodies) == 2
    assert bodies[0] == bodies[1] == Letter.objects.get().body
    assert re.search(r"Z0\d\d Field", bodies[0])


class TestPages:
    def test_strangers_are_asked_to_log_in(self, client: Client) -> None:
        for answer in (client.get(PAGE), client.post(SIGN_UP, FIELDS), client.get(f"{PAGE}1/")):
            assert answer["Location"].startswith(reverse("admin:login"))
        assert not Person.objects.exists()

    def test_signing_up_twice_is_signing_up_once(self, demo: Client, person: Person) -> None:
        again = demo.post(SIGN_UP, {**FIELDS, "email": "grace@example.com"}, follow=True)
        assert "signed up before" in again.content.decode()
        assert (Person.objects.count(), get_queue().count_jobs()) == (1, 1)

    @pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "x" * 101}, {"email": "x"}])
    def test_what_makes_no_sense_is_refused(self, demo: Client, wrong: dict[str, str]) -> None:
        assert demo.post(SIGN_UP, {**FIELDS, **wrong}).status_code == 400
        assert not Person.objects.exists()

    def test_forms_take_a_post_with_a_csrf_token(self, demo: Client, person: Person) -> None:
        assert demo.get(SIGN_UP).status_code == 405
        for url in (SIGN_UP, links.unsubscribe_path(person.pk)):
            assert Client(enforce_csrf_checks=True).post(url, FIELDS).status_code == 403

    def test_a_name_is_text(self, demo: Client, work: Work) -> None:
        demo.post(SIGN_UP, {**FIELDS, "name": SCRIPT})
        work()
        for url in (PAGE, Person.objects.get().get_absolute_url(), reverse("post:letters")):
            page = demo.get(url).content.decode()
            assert "&lt;script&gt;" in page
            assert "<script" not in page

    def test_looking_changes_nothing(self, demo: Client, person: Person, work: Work) -> None:
        work()
        before = rows_of_every_table()
        for url in (PAGE, person.get_absolute_url(), links.unsubscribe_path(person.pk)):
            assert demo.get(url).status_code == demo.head(url).status_code == 200
        assert rows_of_every_table() == before

    def test_unsubscribing_twice_is_unsubscribing_once(self, client: Client, person: Person) -> None:
        link = links.unsubscribe_path(person.pk)
        client.post(link)
        first = Person.objects.get().unsubscribed_at
        assert first is not None
        assert "has unsubscribed" in client.post(link).content.decode()
        assert "<button" not in client.get(link).content.decode()
        assert Person.objects.get().unsubscribed_at == first

    def test_links_that_are_not_ours_are_refused(self, client: Client, person: Person) -> None:
        signed = links.unsubscribe_path(person.pk).rstrip("/").rpartition("/")[2]
        foreign = other_links.signer.sign_object(person.pk)
        for wrong in (signed[:-1], f"x{signed}", foreign, "x", ":", "%00"):
            for answer in (client.get(f"{PAGE}unsubscribe/{wrong}/"), client.post(f"{PAGE}unsubscribe/{wrong}/")):
                assert (answer.status_code, "not one that we sent" in answer.content.decode()) == (400, True), wrong
        assert client.post(links.unsubscribe_path(999)).status_code == 404
        assert Person.objects.get().unsubscribed_at is None
