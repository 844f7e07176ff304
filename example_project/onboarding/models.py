"""People who have signed up."""

from django.db import models
from django.urls import reverse


class Person(models.Model):
    """Somebody who gets letters until they do not want any more."""

    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    created_at = models.DateTimeField("signed up", auto_now_add=True)
    unsubscribed_at = models.DateTimeField("unsubscribed", null=True, blank=True)
    job_id = models.BigIntegerField("job", null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of the person's page."""
        return reverse("onboarding:person", args=[self.pk])
