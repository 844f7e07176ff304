"""The addresses of the page and of the digests."""

from django.urls import path

from . import views

app_name = "digest"

urlpatterns = [
    path("", views.show, name="digest"),
    path("run/", views.run_now, name="run"),
    path("pause/", views.pause, name="pause"),
    path("resume/", views.resume, name="resume"),
    path("<int:job_id>.html", views.document, name="document"),
]
