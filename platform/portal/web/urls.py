from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from portal.web import views

app_name = "web"
urlpatterns = [
    path("", views.index, name="index"),
    path(
        "login/",
        LoginView.as_view(template_name="web/login.html", http_method_names=["get", "post", "head"]),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
]
