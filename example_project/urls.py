"""The addresses of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.fieldbook.urls")),
    path("album/", include("example_project.album.urls")),
    path("post/", include("example_project.post.urls")),
    path("refunds/", include("example_project.refunds.urls")),
    path("welcome/", include("example_project.onboarding.urls")),
    path("untrusted/", include("example_project.untrusted.urls")),
    path("digest/", include("example_project.digest.urls")),
    path("webhooks/", include("example_project.webhooks.urls")),
    path("admin/", admin.site.urls),
]
