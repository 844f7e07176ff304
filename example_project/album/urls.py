"""The addresses of the album."""

from django.urls import path

from . import views

app_name = "album"

urlpatterns = [
    path("", views.show_album, name="album"),
    path("shipped/", views.add_shipped, name="add_shipped"),
    path("upload/", views.upload, name="upload"),
    path("sheet.jpg", views.sheet, name="sheet"),
    path("sheet/retry/", views.retry_sheet, name="retry_sheet"),
    path("photos/<int:pk>/<int:size>.jpg", views.thumbnail, name="thumbnail"),
    path("photos/<int:pk>/remove/", views.remove, name="remove"),
    path("photos/<int:pk>/retry/", views.retry, name="retry"),
]
