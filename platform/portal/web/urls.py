"""Addresses of the pages: one list, of the folder of each kind of reader."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from portal.web import views
from portal.web.account.urls import urlpatterns as account
from portal.web.analyst.urls import urlpatterns as analyst
from portal.web.login import LogIn, second_step
from portal.web.operator.urls import urlpatterns as operator
from portal.web.provider.urls import urlpatterns as provider

app_name = "web"
urlpatterns = [
    path("", views.index, name="index"),
    path("login/", LogIn.as_view(), name="login"),
    path("login/code/", second_step, name="login-code"),
    path("logout/", LogoutView.as_view(), name="logout"),
    *provider,
    *analyst,
    *operator,
    *account,
]
