"""The addresses of the site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.fieldbook.urls")),
    path("album/", include("example_project.album.urls")),
    path("admin/", admin.site.urls),
]
