"""The album, its photographs and their thumbnails."""

from django.db import models
from django.urls import reverse

from .storages import whole_files


class Album(models.Model):
    """The one album, and its contact sheet.

    `version` grows with every change to what the sheet would show. Whoever changes the album locks this row first, so
    the last of several thumbnails that finish at the same time sees all the others.
    """

    version = models.PositiveBigIntegerField(default=0)
    sheet = models.FileField(storage=whole_files, upload_to="album/sheets", max_length=255, blank=True)
    sheet_version = models.PositiveBigIntegerField("version the sheet shows", null=True, blank=True)
    sheet_width = models.PositiveIntegerField(default=0)
    sheet_height = models.PositiveIntegerField(default=0)
    sheet_bytes = models.PositiveIntegerField(default=0)
    sheet_sha256 = models.CharField("SHA-256 of the sheet", max_length=64, blank=True)
    sheet_job_id = models.BigIntegerField("job of the sheet", null=True, blank=True)

    def __str__(self) -> str:
        return f"album {self.pk}"


class Photo(models.Model):
    """A picture as it came; the same bytes are in the album once."""

    album = models.ForeignKey(Album, on_delete=models.CASCADE, related_name="photos")
    title = models.CharField(max_length=100)
    credit = models.CharField("author and rights", max_length=200, blank=True)
    file = models.FileField(storage=whole_files, upload_to="album/photos", max_length=255)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    bytes = models.PositiveIntegerField()
    sha256 = models.CharField("SHA-256 of the file", max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["album", "id"]
        constraints = [models.UniqueConstraint(fields=("album", "sha256"), name="album_photo_once")]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the photograph's place on the album's page."""
        return f"{reverse('album:album')}#photo-{self.pk}"


class Thumbnail(models.Model):
    """A photograph in one size, made by one job; either its file is there, or `problem` says why it cannot be."""

    photo = models.ForeignKey(Photo, on_delete=models.CASCADE, related_name="thumbnails")
    size = models.PositiveIntegerField("longest side")
    job_id = models.BigIntegerField(null=True, blank=True)
    file = models.FileField(storage=whole_files, upload_to="album/thumbnails", max_length=255, blank=True)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    bytes = models.PositiveIntegerField(default=0)
    sha256 = models.CharField("SHA-256 of the file", max_length=64, blank=True)
    problem = models.CharField("why there is none", max_length=200, blank=True)

    class Meta:
        ordering = ["photo", "size"]
        constraints = [models.UniqueConstraint(fields=("photo", "size"), name="album_thumbnail_once")]

    def __str__(self) -> str:
        return f"photo {self.photo_id}, {self.size} px"
