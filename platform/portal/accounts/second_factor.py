"""The second factor of a person: a code of the moment (TOTP, RFC 6238), or one of ten recovery codes that serve once each.

A session holds when its person last gave a code. Logging in takes one of whoever is enrolled; approving takes one that is
at most FOURFOLD_CODE_MINUTES old. Tokens are not asked: making one is.
Wrong codes make the next one wait, twice as long each time (django-otp); a code that was taken is not taken again.
The key lies in the portal's database in clear, as any key of TOTP must; recovery codes lie there as hashes.
"""

import base64
import hashlib
import re
import secrets
import time
from typing import Any

import qrcode
import qrcode.image.svg
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from portal.accounts.models import RecoveryCode, Role, User
from portal.audit.actions import record

RECOVERY_CODES = 10
GIVEN = "code_given"  # in a session: when its person last gave a code, unix seconds
_SIX = re.compile("[0-9]{6}")


class CodeNeeded(Exception):
    """A code of the second factor is needed and none came."""

    code = "code_needed"


class CodeWrong(Exception):
    """The code is wrong, was used, or came too soon after a wrong one."""

    code = "code_wrong"


class NotEnrolled(Exception):
    """There is nothing to confirm or to remove, or something is there already."""

    code = "second_factor"


def enrolled(user: User) -> bool:
    """Whether this person has a second factor."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def required(user: Any) -> bool:
    """Whether this person must have one: operators, where the deployment says so."""
    return bool(settings.FOURFOLD_SECOND_FACTOR and getattr(user, "role", "") == Role.OPERATOR)


@transaction.atomic
def begin(user: User) -> TOTPDevice:
    """The key that is to be confirmed: the one that was shown before, else a new one. Raises NotEnrolled."""
    User.objects.select_for_update().get(pk=user.pk)
    if enrolled(user):
        raise NotEnrolled("there is a second factor already: remove it first")
    found, _ = TOTPDevice.objects.get_or_create(
        user=user, confirmed=False, defaults={"name": "authenticator"}
    )
    return found


def confirm(user: User, code: str) -> list[str]:
    """From here a code is asked of this person; returns the recovery codes, shown this once. All sessions end.

    Raises  NotEnrolled, CodeWrong.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None or enrolled(user):
            raise NotEnrolled("there is nothing to confirm: begin again")
        right = _takes(device, code)
        if right:
            device.confirmed = True
            device.save(update_fields=["confirmed"])
            codes = _new_codes(user)
            end_sessions(user)
            record("second factor", by=user.username, subject=f"account {user.username}")
    if not right:
        raise CodeWrong("the code is wrong: wait for the next one, and look at the clock of your telephone")
    return codes


def check(user: User, code: str) -> None:
    """Take a code or a recovery code of this person. Raises CodeNeeded, CodeWrong."""
    code = "".join(code.split()).replace("-", "").upper()
    if not code:
        raise CodeNeeded("enter a code of your second factor")
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        right = device is not None and _SIX.fullmatch(code) is not None and _takes(device, code)
    if right or _use(user, code):
        return
    raise CodeWrong("the code is wrong or was used; after a wrong one wait a little, then give the next")


def given(request: Any) -> None:
    """Note in the session that its person gave a code now."""
    request.session[GIVEN] = int(time.time())


def ever_given(request: Any) -> bool:
    return GIVEN in request.session


def asks(request: Any) -> bool:
    """Whether what matters needs a code now: its person is enrolled, and the last one is too old."""
    age = time.time() - request.session.get(GIVEN, 0)
    return not 0 <= age <= 60 * settings.FOURFOLD_CODE_MINUTES and enrolled(request.user)


def must_be_fresh(request: Any, code: str = "") -> None:
    """Take `code` if one is due. Raises CodeNeeded, CodeWrong."""
    if asks(request):
        check(request.user, code)
        given(request)


@transaction.atomic
def renew_codes(user: User) -> list[str]:
    """Ten other recovery codes; the old ones open nothing any more. Raises NotEnrolled."""
    if not enrolled(user):
        raise NotEnrolled("there is no second factor")
    record("recovery codes", by=user.username, subject=f"account {user.username}")
    return _new_codes(user)


@transaction.atomic
def remove(user: User, *, by: str) -> None:
    """No code is asked of this person any more, and all sessions end. Raises NotEnrolled."""
    removed, _ = TOTPDevice.objects.filter(user=user).delete()
    user.recovery_codes.all().delete()
    if not removed:
        raise NotEnrolled("there is no second factor")
    end_sessions(user)
    record("second factor removed", by=by, subject=f"account {user.username}")


def codes_left(user: User) -> int:
    return user.recovery_codes.filter(used_at=None).count()


def end_sessions(user: User) -> None:
    """Every session of this person ends at its next request."""
    User.objects.filter(pk=user.pk).update(sessions_ended=F("sessions_ended") + 1)
    user.refresh_from_db(fields=["sessions_ended"])


def key_text(device: TOTPDevice) -> str:
    """The key in groups of four, for who types it."""
    text = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def picture(device: TOTPDevice) -> str:
    """A QR code of the key as a data: address of an SVG."""
    drawn = qrcode.make(device.config_url, image_factory=qrcode.image.svg.SvgPathFillImage, border=2)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.to_string()).decode()


def _takes(device: TOTPDevice, code: str) -> bool:
    return bool(device.verify_token(code))


def _use(user: User, code: str) -> bool:
    """Use up a recovery code; of two who give the same one, one succeeds."""
    unused = RecoveryCode.objects.filter(user=user, digest=_digest(code), used_at=None)
    if not unused.update(used_at=timezone.now()):
        return False
    record("recovery code used", by=user.username, subject=f"account {user.username}")
    return True


def _new_codes(user: User) -> list[str]:
    """Ten codes of 80 bits: nobody guesses one, so a plain hash keeps them."""
    user.recovery_codes.all().delete()
    codes = [base64.b32encode(secrets.token_bytes(10)).decode() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=_digest(code)) for code in codes)
    return ["-".join(code[i : i + 4] for i in range(0, 16, 4)) for code in codes]


def _digest(code: str) -> str:
    return hashlib.sha256(f"fourfold recovery {code}".encode()).hexdigest()
