"""The WSGI application; figures need scipy, which is loaded before the first request waits for it."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()

import analytics.statistics  # noqa: F401
