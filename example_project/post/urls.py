"""The address of the post."""

from django.urls import path

from . import views

app_name = "post"

urlpatterns = [path("", views.show_letters, name="letters")]
