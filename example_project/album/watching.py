"""What a visitor sees of the album and of the jobs behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dataqueue_django import Job, JobStatus, get_queue

from .models import Album, Photo, Thumbnail

MOST_AT_ONCE = 100
LOOKS = 3
"""How often the album is read for one page while workers change it; then the page is made of what was seen."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that a job makes: the job if it is still kept, whether the thing is there, or why it cannot be."""

    what: str
    job: Job | None
    is_done: bool
    problem: str = ""
    size: int = 0

    @property
    def status(self) -> str:
        """How it is, in a word or two."""
        if self.is_done:
            return str(JobStatus.COMPLETED)
        if self.job is None:
            return "unknown"
        return "failed, will be tried again" if self.job.will_retry else str(self.job.status)

    @property
    def word(self) -> str:
        """The status in one word."""
        return self.status.partition(",")[0]

    @property
    def is_open(self) -> bool:
        """Whether its job has yet to end."""
        return not self.is_done and self.job is not None and not self.job.is_terminal

    @property
    def can_be_retried(self) -> bool:
        """Whether its job ended without it."""
        return (
            not self.is_done
            and self.job is not None
            and self.job.is_terminal
            and self.job.status in (JobStatus.FAILED, JobStatus.CANCELLED)
        )

    @property
    def error(self) -> str:
        """Why it cannot be, or what the last failed attempt said."""
        if self.is_done or self.job is None or self.job.status != JobStatus.FAILED:
            return ""
        last = self.job.error_history[-1]["message"] if self.job.error_history else ""
        return self.problem or str(last)


@dataclass(frozen=True, slots=True)
class Shown:
    """A photograph and its thumbnails, the smallest first."""

    photo: Photo
    thumbnails: list[Thumbnail]
    lines: list[Line]

    @property
    def small(self) -> Thumbnail | None:
        """The thumbnail for the page: one that is sharp on every screen, or the smallest while it is the only one."""
        return next((one for one in [*self.thumbnails[1:], *self.thumbnails[:1]] if one.file), None)

    @property
    def large(self) -> Thumbnail | None:
        """The largest one there is."""
        return next((one for one in reversed(self.thumbnails) if one.file), None)

    @property
    def problem(self) -> str:
        """Why a thumbnail cannot be made, if so."""
        return next((line.error for line in self.lines if line.can_be_retried and line.error), "")

    @property
    def can_be_retried(self) -> bool:
        """Whether a thumbnail's job ended without it."""
        return any(line.can_be_retried for line in self.lines)


@dataclass(frozen=True, slots=True)
class Watched:
    """How far the album has come."""

    album: Album
    photos: list[Shown]
    sheet: Line | None
    is_changing: bool = False

    @property
    def lines(self) -> list[Line]:
        """All that jobs make for the album, the sheet last."""
        return [line for shown in self.photos for line in shown.lines] + ([self.sheet] if self.sheet else [])

    @property
    def is_running(self) -> bool:
        """Whether looking again later may show something new."""
        return self.is_changing or any(line.is_open for line in self.lines)

    @property
    def percent(self) -> int:
        """How much there is of all that is to be made; what cannot be made counts as well."""
        wanted = sum(len(shown.lines) for shown in self.photos) + 1
        settled = sum(not line.is_open for line in self.lines)
        percent = 100 * settled // wanted
        return percent if self.sheet and not self.is_changing else min(99, percent)

    @property
    def message(self) -> str:
        """What is going on."""
        open_now = [line for line in self.lines if line.is_open]
        talking = [line for line in open_now if line.job and line.job.status == JobStatus.PROCESSING]
        if talking:
            return f"{talking[0].what}: {talking[0].job.progress_message or 'begun'}"
        if open_now or self.is_changing:
            return "Waiting for a worker"
        return "Some could not be made" if any(line.can_be_retried for line in self.lines) else "Done"


def watch(album: Album | None) -> Watched:
    """Return what is known about the album and its jobs; None is an album that nobody has added to.

    Workers go on while this reads. Were a job seen to have ended and the album as it was before, the page would take
    that for the end; so the album is read before and after, and all of it again when it has changed.
    """
    seen = Watched(album or Album(), [], None, is_changing=album is not None)
    for _ in range(LOOKS):
        if seen.is_changing:
            seen = _look(seen.album)
    return seen


def _look(album: Album) -> Watched:
    photos = list(album.photos.prefetch_related("thumbnails"))
    jobs = _jobs([album.sheet_job_id, *(one.job_id for photo in photos for one in photo.thumbnails.all())])
    now = Album.objects.filter(pk=album.pk).first()
    if now is None:
        return Watched(Album(), [], None)
    sheet = _sheet(now, jobs) if photos else None
    return Watched(now, [_shown(photo, jobs) for photo in photos], sheet, is_changing=now.version != album.version)


def _shown(photo: Photo, jobs: dict[int, Job]) -> Shown:
    thumbnails = list(photo.thumbnails.all())
    lines = [
        Line(f"{photo.title}, {one.size} px", jobs.get(one.job_id), bool(one.file), one.problem, one.size)
        for one in thumbnails
    ]
    return Shown(photo, thumbnails, lines)


def _sheet(album: Album, jobs: dict[int, Job]) -> Line | None:
    """The sheet's line, once it was asked for as the album is now."""
    job = jobs.get(album.sheet_job_id)
    is_done = album.sheet_version == album.version
    asked = is_done or (job is not None and job.payload["version"] == album.version)
    return Line("Contact sheet", job, is_done) if asked else None


def _jobs(ids: Iterable[int | None]) -> dict[int, Job]:
    """The jobs with these ids that are still kept."""
    queue = get_queue()
    wanted = [one for one in ids if one is not None]
    found: dict[int, Job] = {}
    for start in range(0, len(wanted), MOST_AT_ONCE):
        part = wanted[start : start + MOST_AT_ONCE]
        found.update((job.id, job) for job in queue.get_jobs({"ids": part}, limit=len(part)))
    return found
