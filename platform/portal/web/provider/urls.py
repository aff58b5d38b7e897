"""Addresses of a provider's pages."""

from django.urls import path

from portal.web.provider import views

urlpatterns = [
    path("data/", views.history, name="data"),
    path("data/new/", views.new, name="data-new"),
    path("data/<dataset:pk>/", views.detail, name="data-detail"),
    path("data/<dataset:pk>/summary/", views.summary, name="data-summary"),
]
