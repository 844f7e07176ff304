"""The addresses of the app."""

from django.urls import path

from . import views

app_name = "fieldbook"

urlpatterns = [
    path("", views.home, name="home"),
    path("imports/shipped/", views.import_shipped, name="import_shipped"),
    path("imports/upload/", views.import_upload, name="import_upload"),
    path("imports/<int:pk>/", views.show_import, name="import"),
    path("imports/<int:pk>/rejects.csv", views.rejects_file, name="rejects_file"),
    path("imports/<int:pk>/report.csv", views.report_file, name="report_file"),
]
