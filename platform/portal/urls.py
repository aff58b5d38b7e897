"""Addresses of the portal."""

from django.contrib import admin
from django.urls import include, path

from portal import health, metrics
from portal.web.login import LogIn

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("metrics", metrics.Metrics.as_view(), name="metrics"),
    path("api/", include("portal.api.urls")),
    path("admin/login/", LogIn.as_view(), name="admin-login"),  # one door: it asks for the second factor
    path("admin/", admin.site.urls),
    path("", include("portal.web.urls")),
]

handler400 = "portal.web.views.bad_request"
handler404 = "portal.web.views.not_found"
handler500 = "portal.web.views.internal"
