"""Addresses of the pages: one list, of the folder of each kind of reader."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from portal.web import views
from portal.web.account.urls import urlpatterns as account
from portal.web.analyst.urls import urlpatterns as analyst
from portal.web.operator.urls import urlpatterns as operator
from portal.web.provider.urls import urlpatterns as provider

app_name = "web"
urlpatterns = [
    path("", views.index, name="index"),
    path(
        "login/",
        LoginView.as_view(template_name="web/login.html", http_method_names=["get", "post", "head"]),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
    *provider,
    *analyst,
    *operator,
    *account,
]
