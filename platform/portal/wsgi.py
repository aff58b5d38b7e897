"""The WSGI application; figures need scipy, which is loaded before the first request waits for it."""

import os

from django.core.wsgi import get_wsgi_application

from analytics import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
logs.identify(role="web")

application = get_wsgi_application()

import analytics.statistics  # noqa: F401
