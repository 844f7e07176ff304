"""The addresses of refunds."""

from django.urls import path

from . import views

app_name = "refunds"

urlpatterns = [
    path("", views.show_refunds, name="refunds"),
    path("request/", views.request, name="request"),
    path("<int:pk>/", views.show_refund, name="refund"),
    path("decide/<str:link>/", views.decide_by_link, name="decide"),
]
