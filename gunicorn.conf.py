"""The portal's web server: the same settings under `manage.py up` and in a container.

Two processes with threads: a poll or a bundle of one client never waits for another's. The control socket is
off, since gunicorn would put it in the home directory of whoever starts it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

wsgi_app = "portal.wsgi"
bind = os.environ.get("FOURFOLD_BIND", "127.0.0.1:8000")
workers = 2
threads = 8
worker_class = "gthread"
preload_app = True
control_socket_disable = True
graceful_timeout = 3
timeout = 120
accesslog = None
errorlog = "-"
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"
