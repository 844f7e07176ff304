"""The addresses of the welcome."""

from django.urls import path

from . import views

app_name = "onboarding"

urlpatterns = [
    path("", views.show_people, name="people"),
    path("sign-up/", views.sign_up, name="sign_up"),
    path("<int:pk>/", views.show_person, name="person"),
    path("unsubscribe/<str:link>/", views.unsubscribe, name="unsubscribe"),
]
