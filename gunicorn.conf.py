"""The portal's web server: the same settings under `manage.py up` and in a container.

One process with threads is enough for one host and kindest to SQLite; WEB_CONCURRENCY asks for more. The control
socket is off, since gunicorn would put it in the home directory of whoever starts it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

wsgi_app = "portal.wsgi"
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
threads = 8
worker_class = "gthread"
preload_app = workers > 1
control_socket_disable = True
graceful_timeout = 3
timeout = 120
keepalive = 15
accesslog = None
errorlog = "-"
# What the processes of the web server count together (portal/metrics.py).
counts = Path(os.environ.get("VAR", "var")).absolute() / "portal" / "metrics"
counts.mkdir(parents=True, exist_ok=True, mode=0o700)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counts)
# Lines of the server itself go the way of all others: the settings of the portal format them.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "analytics.logs.formatter", "kind": os.environ.get("LOG_FORMAT", "text")}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"


def on_starting(server):
    """Counters of the last start end here; Prometheus knows that as a reset."""
    for file in counts.glob("*.db"):
        file.unlink()
