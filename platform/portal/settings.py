"""Settings of the portal, read from the environment once, here and nowhere else.

Everything has an embedded default under VAR, so that a fresh clone runs; a production deployment sets
DATABASE_URL, REDIS_URL, SECRET_KEY, FOURFOLD_HOSTS and leaves FOURFOLD_HTTPS on.
"""

from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe

from csp.constants import NONE, SELF
from environs import Env

env = Env()
BASE_DIR = Path(__file__).resolve().parents[2]

# Where this deployment keeps its own files. Parties keep theirs elsewhere.
VAR = Path(env.str("VAR", "var")).resolve()
PORTAL_DIR = VAR / "portal"
FOURFOLD_PORTAL_KEY = Path(env.str("FOURFOLD_PORTAL_KEY", str(PORTAL_DIR / "sign.pem")))
FOURFOLD_PARTIES_FILE = Path(env.str("FOURFOLD_PARTIES_FILE", str(VAR / "parties.json")))
FOURFOLD_BUNDLES = Path(env.str("FOURFOLD_BUNDLES", str(PORTAL_DIR / "bundles")))
FOURFOLD_DEMO = env.bool("FOURFOLD_DEMO", False)

DEBUG = env.bool("DEBUG", False)
# Local http (a demo, a developer's machine) cannot use cookies that ask for https.
HTTPS = env.bool("FOURFOLD_HTTPS", not (DEBUG or FOURFOLD_DEMO))


def _secret_key() -> str:
    """SECRET_KEY, else the deployment's file, else one for the life of this process (`check --deploy` warns)."""
    given = env.str("SECRET_KEY", "")
    if given:
        return given
    stored = PORTAL_DIR / "secret_key"
    try:
        return stored.read_text().strip() or token_urlsafe(48)
    except OSError:
        return token_urlsafe(48)


SECRET_KEY = _secret_key()
SECRET_KEY_IS_KEPT = bool(env.str("SECRET_KEY", "")) or (PORTAL_DIR / "secret_key").exists()
ALLOWED_HOSTS: list[str] = env.list("FOURFOLD_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("FOURFOLD_ORIGINS", [])

# Dispatching: how much runs at once, and how long anybody is waited for (seconds).
FOURFOLD_JOBS_IN_FLIGHT = env.int("FOURFOLD_JOBS_IN_FLIGHT", 1)
FOURFOLD_MAX_ATTEMPTS = 2
FOURFOLD_ATTEMPT_TIMEOUT = env.int("FOURFOLD_ATTEMPT_TIMEOUT", 600)
FOURFOLD_SETTLE_SECONDS = env.float("FOURFOLD_SETTLE_SECONDS", 12.0)
FOURFOLD_RELEASE_GRACE = env.float("FOURFOLD_RELEASE_GRACE", 1.0)
FOURFOLD_TELL_AGAIN = env.float("FOURFOLD_TELL_AGAIN", 20.0)
FOURFOLD_PARTY_FRESH = env.float("FOURFOLD_PARTY_FRESH", 15.0)
FOURFOLD_PARTY_WAIT = env.float("FOURFOLD_PARTY_WAIT", 60.0)
FOURFOLD_ORDER_LIFETIME = env.int("FOURFOLD_ORDER_LIFETIME", 7 * 24 * 3600)
# Deciding: by two operators; by none of the asker's own organisation.
FOURFOLD_TWO_APPROVALS = env.bool("FOURFOLD_TWO_APPROVALS", False)
FOURFOLD_APPROVERS_APART = env.bool("FOURFOLD_APPROVERS_APART", False)
# Days that sealed bundles are kept after the fourth receipt.
FOURFOLD_BUNDLE_DAYS = env.int("FOURFOLD_BUNDLE_DAYS", 30)
FOURFOLD_POLL_SECONDS = env.float("FOURFOLD_POLL_SECONDS", 0.3)
# Webhooks: failed tries in a row that disable one; http and loopback addresses, for development alone.
FOURFOLD_WEBHOOK_FAILURES = env.int("FOURFOLD_WEBHOOK_FAILURES", 20)
FOURFOLD_WEBHOOKS_LOOPBACK = env.bool("FOURFOLD_WEBHOOKS_LOOPBACK", False)
# Who scrapes /metrics knows this; empty: operators alone read it.
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")

INSTALLED_APPS = [
    "portal.web",  # first: its base of the admin's pages says whose they are
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "knox",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "portal",
    "portal.accounts",
    "portal.registry",
    "portal.queries",
    "portal.approvals",
    "portal.budgets",
    "portal.absence",
    "portal.audit",
    "portal.operations",
    "portal.webhooks",
    "portal.notices",
    "portal.api",
]

MIDDLEWARE = [
    "portal.requests.Requests",  # first: whatever the others log names the request
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.web.gate.Gate",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.web.context.deployment",
            ]
        },
    }
]

DATABASES = {
    "default": env.dj_db_url("DATABASE_URL", f"sqlite:///{PORTAL_DIR / 'portal.sqlite3'}", conn_max_age=60)
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that reads, then writes, must not fail for want of the write lock half-way.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "web:login"
LOGIN_REDIRECT_URL = "web:index"
LOGOUT_REDIRECT_URL = "web:index"
# By user and address: one stranger's failures do not lock out the person.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_SENSITIVE_PARAMETERS = ["password"]
AXES_LOCKOUT_CALLABLE = "portal.web.views.locked_out"
TOKEN_LIFETIME = timedelta(hours=10)
REST_KNOX = {"TOKEN_TTL": TOKEN_LIFETIME, "TOKEN_LIMIT_PER_USER": None, "AUTO_REFRESH": False}

# A second factor: whether operators must have one; how long a code counts where something is approved (minutes).
FOURFOLD_SECOND_FACTOR = env.bool("FOURFOLD_SECOND_FACTOR", False)
FOURFOLD_CODE_MINUTES = env.int("FOURFOLD_CODE_MINUTES", 15)
OTP_TOTP_ISSUER = "Fourfold"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
# Files are served from the packages they come with; collectstatic is not needed.
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 10 * 3600
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "portal.web.views.csrf_failure"
SECURE_SSL_REDIRECT = HTTPS and env.bool("FOURFOLD_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
if env.bool("FOURFOLD_BEHIND_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["portal.api.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["portal.api.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "portal.api.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [
        "rest_framework.throttling.AnonRateThrottle",
        "rest_framework.throttling.UserRateThrottle",
        "rest_framework.throttling.ScopedRateThrottle",
    ],
    # By the second: a short window keeps the history that a throttle reads at each request short too.
    "DEFAULT_THROTTLE_RATES": {
        "anon": "50/s",
        "user": "200/s",
        "login": "20/min",
        "compile": "20/s",
        "reports": "100/s",
    },
    "EXCEPTION_HANDLER": "portal.api.errors.handler",
    "NUM_PROXIES": 1 if env.bool("FOURFOLD_BEHIND_PROXY", False) else 0,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNICODE_JSON": True,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Fourfold",
    "DESCRIPTION": "Approved questions about tables that nobody can read.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "QueryState": "portal.queries.models.State.choices",
        "DatasetState": "portal.registry.models.DatasetState.choices",
        "Mode": "portal.queries.models.Mode.choices",
        "DeliveryState": "portal.webhooks.models.DeliveryState.choices",
        "WebhookEvent": "portal.webhooks.models.Event.choices",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "analytics.logs.formatter", "kind": env.str("LOG_FORMAT", "text")}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", "WARNING")},
    "loggers": {
        "portal": {"level": env.str("LOG_LEVEL", "INFO")},
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}
