"""The addresses of the page."""

from django.urls import path

from . import views

app_name = "webhooks"

urlpatterns = [
    path("", views.show, name="webhooks"),
    path("send/", views.send_events, name="send"),
]
