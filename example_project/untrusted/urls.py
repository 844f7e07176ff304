"""The addresses of the page."""

from django.urls import path

from . import views

app_name = "untrusted"

urlpatterns = [
    path("", views.show, name="untrusted"),
    path("scan/", views.upload, name="upload"),
    path("bomb/", views.upload_bomb, name="upload_bomb"),
    path("pattern/", views.pattern, name="pattern"),
    path("<slug:sha256>.jpg", views.preview, name="preview"),
]
