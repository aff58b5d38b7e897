from django.urls import path
from django.urls.resolvers import URLPattern

from portal.web.account import notices, views

urlpatterns: list[URLPattern] = [
    path("notices/", notices.page, name="notices"),
    path("account/", views.overview, name="account"),
    path("account/password/", views.password, name="account-password"),
    path("account/tokens/", views.tokens, name="account-tokens"),
    path("account/second-factor/", views.factor, name="account-factor"),
]
