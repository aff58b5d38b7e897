"""Webhooks: who is told what, signed how, where they may point, and what becomes of those that nobody hears."""

import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib import admin
from django.utils import timezone

from portal.audit.models import Event as AuditEvent
from portal.queries import actions as queries
from portal.queries.attempts import abort
from portal.webhooks import actions, addresses, delivering, sending
from portal.webhooks.addresses import AddressRefused
from portal.webhooks.models import Delivery, Webhook
from portal.webhooks.sending import NotDelivered

from . import factories
from .receiver import Receiver, certificate

pytestmark = pytest.mark.django_db
PUBLIC = "https://hooks.example.org/fourfold"

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.215.14", "::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001:0:a9fe:a9fe::1", "100::1",
]  # fmt: skip


@pytest.fixture
def loopback(settings):
    settings.FOURFOLD_WEBHOOKS_LOOPBACK = True


@pytest.fixture
def receiver(loopback):
    made = Receiver()
    made.url = f"http://127.0.0.1:{made.port}/hook?key=1"
    yield made
    made.close()


@pytest.fixture
def named(monkeypatch):
    """`named(host=[addresses])`: what the resolver answers; the list of what it was asked."""
    asked = []
    real = socket.getaddrinfo

    def use(**hosts):
        table = {name.replace("_", "."): found for name, found in hosts.items()}

        def resolve(host, port, *args, **kwargs):
            if host not in table:
                return real(host, port, *args, **kwargs)
            asked.append(host)
            found = table[host]
            answer = found.pop(0) if found and isinstance(found[0], list) else found
            return [(socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                    for a in answer]  # fmt: skip

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return use


def deliveries(webhook):
    return list(Delivery.objects.filter(webhook=webhook).order_by("created"))


def told(webhook):
    return [(d.event, json.loads(d.body)) for d in deliveries(webhook)]


class TestRegistering:
    def test_shows_its_secret_once_and_lists_it_without(self, as_):
        made = as_("analyst").post("webhooks/", {"url": PUBLIC})
        assert made.status_code == 201, made.content
        body = made.json()
        assert body["secret"].startswith("whsec_") and len(body["secret"]) == 49
        assert body["events"] == ["query.approved", "query.refused", "query.released", "query.aborted"]
        for path in ("webhooks/", f"webhooks/{body['id']}/"):
            shown = as_("analyst").get(path)
            assert shown.status_code == 200 and body["secret"] not in shown.content.decode()

    def test_keeps_no_secret_in_the_database(self, as_):
        secret = as_("analyst").post("webhooks/", {"url": PUBLIC}).json()["secret"]
        row = Webhook.objects.values().get()
        assert secret not in str(row) and secret.removeprefix("whsec_") not in str(row)

    def test_gives_each_webhook_another_secret(self, as_):
        secrets = {as_("analyst").post("webhooks/", {"url": PUBLIC}).json()["secret"] for _ in range(3)}
        assert len(secrets) == 3

    def test_takes_events_of_the_role_and_no_others(self, as_):
        taken = as_("provider").post("webhooks/", {"url": PUBLIC, "events": ["dataset.ready"]})
        assert taken.json()["events"] == ["dataset.ready"]
        for who, event in (("provider", "query.released"), ("analyst", "dataset.ready"), ("analyst", "x")):
            refused = as_(who).post("webhooks/", {"url": PUBLIC, "events": [event]})
            assert refused.status_code == 400, (who, event)

    def test_stops_at_ten(self, as_):
        for _ in range(10):
            factories.webhook()
        refused = as_("analyst").post("webhooks/", {"url": PUBLIC})
        assert (refused.status_code, refused.json()["code"]) == (400, "webhook_refused")
        assert as_("analyst2").post("webhooks/", {"url": PUBLIC}).status_code == 201

    def test_leaves_a_trace_without_the_address(self, as_):
        as_("analyst").post("webhooks/", {"url": PUBLIC + "?token=abc"})
        event = AuditEvent.objects.get(kind="webhook")
        assert "abc" not in str(event.detail) + event.subject and event.by == "analyst"

    def test_can_be_taken_back(self, as_):
        hook = factories.webhook()
        factories.approved()
        assert deliveries(hook)
        assert as_("analyst").call("delete", f"webhooks/{hook.pk}/").status_code == 204
        assert not Delivery.objects.exists() and AuditEvent.objects.filter(kind="webhook removed").exists()


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            PUBLIC,
            "https://hooks.example.org",
            "https://hooks.example.org:8443/a/b?c=d&e=%20",
            "https://93.184.215.14/",
            "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        ],
    )
    def test_public_ones_over_https_are_taken(self, url):
        assert addresses.parse(url).scheme == "https"

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.org/",
            "ftp://hooks.example.org/",
            "file:///etc/passwd",
            "//hooks.example.org/",
            "hooks.example.org",
            "https://",
            "https:///path",
            "https://user@hooks.example.org/",
            "https://user:word@hooks.example.org/",
            "https://hooks.example.org/#x",
            "https://hooks.example.org:0/",
            "https://hooks.example.org:99999/",
            "https://hooks.example.org:x/",
            "https://hooks.example.org/a b",
            "https://hooks.example.org/\r\nX: y",
            "https://hooks.example.org\\@127.0.0.1/",
            "https://höoks.example.org/",
            "https://[::1",
            "https://hooks.example.org/" + "x" * 500,
        ],
    )
    def test_what_is_no_such_url_is_refused(self, as_, url):
        with pytest.raises(AddressRefused):
            addresses.parse(url)
        refused = as_("analyst").post("webhooks/", {"url": url})
        assert refused.status_code == 400 and not Webhook.objects.exists()

    @pytest.mark.parametrize("address", PRIVATE)
    def test_no_private_address_is_taken_literally_or_by_name(self, address, named):
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(AddressRefused):
            addresses.parse(f"https://{host}/")
        named(hooks_example_org=[address])
        with pytest.raises(AddressRefused):
            addresses.resolve(addresses.parse(PUBLIC))

    @pytest.mark.parametrize("host", ["localhost", "2130706433", "127.1", "0x7f.1", "0177.0.0.1", "0"])
    def test_other_ways_to_write_loopback_are_refused_when_they_are_looked_up(self, host):
        with pytest.raises(NotDelivered, match="address_refused|no_such_host"):
            sending.post(f"https://{host}/", b"{}", {})

    def test_one_private_address_among_public_ones_refuses_the_name(self, named):
        named(hooks_example_org=["93.184.215.14", "10.0.0.1"])
        with pytest.raises(NotDelivered, match="address_refused"):
            sending.post(PUBLIC, b"{}", {})

    def test_the_setting_for_development_allows_loopback_and_nothing_else(self, loopback):
        for address in PRIVATE:
            parsed = ipaddress.ip_address(address)
            if address in ("127.0.0.1", "127.8.8.8", "::1"):
                addresses.check(parsed)
            else:
                with pytest.raises(AddressRefused):
                    addresses.check(parsed)

    def test_the_connection_goes_to_the_address_that_was_checked_and_no_name_is_looked_up_twice(
        self, receiver, named
    ):
        """The name has a public-looking answer once; its next answer would be the cloud's metadata."""
        asked = named(hooks_example_org=[["127.0.0.1"], ["169.254.169.254"]])
        assert sending.post(f"http://hooks.example.org:{receiver.port}/x", b"{}", {}) == 200
        assert asked == ["hooks.example.org"]
        path, headers, _ = receiver.heard[0]
        assert (path, headers["Host"]) == ("/x", f"hooks.example.org:{receiver.port}")

    def test_an_address_that_does_not_answer_is_followed_by_the_next(self, receiver, named):
        named(hooks_example_org=["127.0.0.2", "127.0.0.1"])
        assert sending.post(f"http://hooks.example.org:{receiver.port}/", b"{}", {}) == 200


class TestSending:
    def test_a_redirect_is_not_followed(self, receiver):
        receiver.status, receiver.extra = 302, {"Location": f"http://127.0.0.1:{receiver.port}/other"}
        with pytest.raises(NotDelivered, match="status_302"):
            sending.post(receiver.url, b"{}", {})
        assert [path for path, *_ in receiver.heard] == ["/hook?key=1"]

    def test_a_proxy_of_the_environment_is_not_used(self, receiver, monkeypatch):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert sending.post(receiver.url, b"{}", {}) == 200

    def test_a_certificate_of_nobody_is_refused_and_one_of_a_known_authority_taken(
        self, loopback, tmp_path, monkeypatch, named
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(tmp_path, "hooks.example.org"))
        secure = Receiver(context)
        named(hooks_example_org=["127.0.0.1"], other_example_org=["127.0.0.1"])
        try:
            url = f"https://hooks.example.org:{secure.port}/"
            with pytest.raises(NotDelivered, match="tls"):
                sending.post(url, b"{}", {})
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
            assert sending.post(url, b"{}", {}) == 200
            with pytest.raises(NotDelivered, match="tls"):  # the certificate is for another name
                sending.post(url.replace("hooks.", "other."), b"{}", {})
        finally:
            secure.close()

    @pytest.mark.parametrize(
        ("answer", "code"),
        [(b"", "no_http"), (b"SSH-2.0-x\r\n", "no_http"), (b"HTTP/1.1 2000 x\r\n", "no_http"), (b"x" * 5000, "no_http"),
         (b"HTTP/1.1 100 Continue\r\n\r\n", "status_100"), (b"HTTP/1.1 204\r\n\r\n", None)],
    )  # fmt: skip
    def test_only_a_status_line_of_2xx_counts(self, loopback, answer, code):
        url = raw_server(lambda link: (link.recv(65536), link.sendall(answer)))
        if code is None:
            assert sending.post(url, b"{}", {}) == 204
        else:
            with pytest.raises(NotDelivered, match=code):
                sending.post(url, b"{}", {})

    def test_a_receiver_that_says_its_status_byte_by_byte_is_not_waited_for(self, loopback, monkeypatch):
        monkeypatch.setattr(sending, "PATIENCE", 0.4)
        began = time.monotonic()

        def trickle(link):
            while time.monotonic() - began < 20:
                link.sendall(b"H")
                time.sleep(0.05)

        with pytest.raises(NotDelivered, match="timeout"):
            sending.post(raw_server(trickle), b"{}", {})
        assert time.monotonic() - began < 10

    def test_a_port_that_nobody_listens_on_is_said(self, loopback):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(NotDelivered, match="connect"):
            sending.post(f"http://127.0.0.1:{port}/", b"{}", {})


def raw_server(act):
    """The URL of a server that does `act` with its one connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        link, _ = listening.accept()
        with link, listening, suppress(OSError):
            act(link)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


class TestAnnouncing:
    def test_an_analyst_hears_of_decisions_and_ends_by_ids_and_states_alone(self, crew):
        hook = factories.webhook()
        query = factories.released(crew, factories.dataset())
        heard = told(hook)
        assert [event for event, _ in heard] == ["query.approved", "query.released"]
        for event, body in heard:
            assert set(body) == {"delivery", "event", "time", "query", "state"}
            assert (body["event"], body["query"]) == (event, str(query.pk))
        assert [body["state"] for _, body in heard] == ["APPROVED", "RELEASED"]

    def test_a_refusal_and_an_abort_are_told_without_their_reasons(self):
        hook = factories.webhook()
        queries.refuse(query=factories.query(), by=factories.account("operator"), reason="Mrs Smith")
        running, _ = factories.running()
        abort(running, code="timeout", reason="party 3")
        heard = told(hook)
        assert [event for event, _ in heard] == ["query.refused", "query.approved", "query.aborted"]
        assert "Smith" not in str(heard) and "timeout" not in str(heard)

    def test_another_analyst_hears_nothing_of_it(self):
        theirs = factories.webhook("analyst2")
        factories.approved()
        assert told(theirs) == []

    def test_a_provider_hears_that_its_organisation_s_dataset_is_ready(self, crew):
        mine, theirs = factories.webhook("provider"), factories.webhook("provider2")
        dataset = factories.dataset(state="CHECKING")
        for party in crew:
            said = party.signed("receipt", dataset=dataset.pk, manifest_hash=dataset.manifest_hash)
            assert party.post(said).status_code == 200
        ((event, body),) = told(mine)
        assert (event, body["dataset"], body["state"]) == ("dataset.ready", dataset.pk, "READY")
        assert told(theirs) == []

    def test_only_chosen_events_are_told_and_nothing_to_a_closed_account_or_another_role(self):
        chosen = factories.webhook(events=["query.refused"])
        every = factories.webhook()
        closed = factories.webhook("analyst2")
        factories.account("analyst2").__class__.objects.filter(username="analyst2").update(is_active=False)
        factories.approved()
        assert told(chosen) == [] and len(told(every)) == 1
        query = factories.query()
        query.analyst = closed.owner
        actions.announce_query("query.approved", query=query.pk, analyst=closed.owner_id, state="APPROVED")
        assert told(closed) == []
        type(every.owner).objects.filter(pk=every.owner_id).update(role="auditor")
        actions.announce_query("query.approved", query=query.pk, analyst=every.owner_id, state="APPROVED")
        assert len(told(every)) == 1

    def test_a_move_that_did_not_happen_is_told_to_nobody(self):
        hook = factories.webhook()
        dataset = factories.dataset(book=factories.codebook(epsilon="1", epsilon_per_query="1"))
        queries.approve(query=factories.query(dataset, epsilon="0.75"), by=factories.account("operator"))
        with pytest.raises(Exception, match="left"):
            queries.approve(query=factories.query(dataset, epsilon="0.5"), by=factories.account("operator"))
        assert len(told(hook)) == 1


class TestDelivering:
    def test_what_arrives_is_signed_with_the_secret_that_was_shown(self, as_, receiver):
        secret = as_("analyst").post("webhooks/", {"url": receiver.url}).json()["secret"]
        query = factories.approved()
        assert delivering.deliver_due() == 1
        ((path, headers, body),) = receiver.heard
        assert path == "/hook?key=1" and json.loads(body)["query"] == str(query.pk)
        stamp, signed = (part.partition("=")[2] for part in headers["Fourfold-Signature"].split(","))
        assert abs(time.time() - int(stamp)) < 30
        expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signed, expected)
        assert headers["Fourfold-Event"] == "query.approved"
        assert headers["Fourfold-Delivery"] == json.loads(body)["delivery"]

    def test_the_code_that_the_page_on_monitoring_shows_receivers_tells_genuine_from_forged(
        self, as_, receiver
    ):
        page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
        names = {}
        exec(page.partition("```python\n")[2].partition("```")[0], names)  # noqa: S102
        secret = as_("analyst").post("webhooks/", {"url": receiver.url}).json()["secret"]
        factories.approved()
        delivering.deliver_due()
        ((_, headers, body),) = receiver.heard
        signed = headers["Fourfold-Signature"]
        assert names["is_genuine"](secret, signed, body)
        assert not names["is_genuine"](secret, signed, body + b" ")
        assert not names["is_genuine"](secret + "x", signed, body)
        old = int(signed[2:12]) - 301
        again = actions.signature(secret, old, body)
        assert not names["is_genuine"](secret, f"t={old},v1={again}", body)

    def test_a_delivery_is_made_once_and_shown_in_the_log(self, as_, receiver):
        hook = factories.webhook(url=receiver.url)
        factories.approved()
        assert (delivering.deliver_due(), delivering.deliver_due(), len(receiver.heard)) == (1, 0, 1)
        (row,) = as_("analyst").get(f"webhooks/{hook.pk}/deliveries/").json()["results"]
        assert (row["state"], row["tries"], row["outcome"]) == ("DELIVERED", 1, "status_200")
        assert "body" not in row and "x" * 10 not in json.dumps(row)

    def test_a_failed_try_is_made_again_later_and_later_and_then_no_more(self, receiver):
        receiver.status = 503
        hook = factories.webhook(url=receiver.url)
        factories.approved()
        clock, pauses = timezone.now(), []
        while True:
            assert delivering.deliver_due(clock) == 1
            (delivery,) = deliveries(hook)
            assert delivery.outcome == "status_503"
            if delivery.state != "WAITING":
                break
            assert delivering.deliver_due(delivery.due - timedelta(seconds=1)) == 0
            pauses.append((delivery.due - clock).total_seconds())
            clock = delivery.due
        assert delivery.state == "FAILED" and len(receiver.heard) == delivery.tries == 6
        assert pauses == [10, 40, 160, 640, 2560]

    def test_a_receiver_that_comes_back_hears_it_and_starts_from_no_failures(self, receiver):
        receiver.status = 500
        hook = factories.webhook(url=receiver.url)
        factories.approved()
        delivering.deliver_due()
        hook.refresh_from_db()
        assert hook.failures == 1
        receiver.status = 204
        assert delivering.deliver_due(timezone.now() + timedelta(minutes=1)) == 1
        hook.refresh_from_db()
        assert (hook.failures, deliveries(hook)[0].state) == (0, "DELIVERED")

    def test_failures_in_a_row_disable_a_webhook_until_its_owner_enables_it(self, as_, receiver, settings):
        settings.FOURFOLD_WEBHOOK_FAILURES = 3
        receiver.status = 410
        hook = factories.webhook(url=receiver.url)
        for _ in range(4):
            factories.approved()
        for _ in range(5):
            delivering.deliver_due()
        assert len(receiver.heard) == 3
        states = [(d.state, d.outcome) for d in deliveries(hook)]
        assert states.count(("FAILED", "disabled")) == 4
        assert not as_("analyst").get(f"webhooks/{hook.pk}/").json()["enabled"]
        assert AuditEvent.objects.filter(kind="webhook disabled").count() == 1
        factories.approved()
        assert len(deliveries(hook)) == 4
        assert as_("analyst").post(f"webhooks/{hook.pk}/enable/").json()["enabled"]
        receiver.status = 200
        factories.approved()
        assert delivering.deliver_due() == 1 and deliveries(hook)[-1].state == "DELIVERED"

    def test_one_that_fails_does_not_keep_the_others_waiting(self, receiver):
        broken = factories.webhook(url="http://127.0.0.1:1/")
        good = factories.webhook(url=receiver.url)
        factories.approved()
        assert delivering.deliver_due() == 2
        assert deliveries(broken)[0].outcome == "connect" and deliveries(good)[0].state == "DELIVERED"

    def test_a_try_is_claimed_before_it_is_made(self, loopback):
        """Whoever looks while a try is under way, or after its process died in it, does not make it again at once."""
        factories.webhook()
        factories.approved()
        seen = []

        def post(*_):
            seen.append(Delivery.objects.get())
            raise SystemExit

        def claims_only(*_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            delivering.deliver_due(post=claims_only)
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.tries) == ("WAITING", 1)
        assert delivering.deliver_due() == 0
        assert delivering.deliver_due(delivery.due, post=lambda *_: 200) == 1

    def test_a_webhook_that_points_inside_is_never_connected_to(self, receiver, settings):
        """Registered where loopback was allowed, delivered where it is not."""
        hook = factories.webhook(url=receiver.url)
        factories.approved()
        settings.FOURFOLD_WEBHOOKS_LOOPBACK = False
        delivering.deliver_due()
        assert receiver.heard == [] and deliveries(hook)[0].outcome == "address_refused"

    def test_what_ended_a_month_ago_is_forgotten_and_what_waits_is_not(self):
        hook = factories.webhook()
        factories.approved()
        factories.approved()
        old = timezone.now() - timedelta(days=31)
        first = deliveries(hook)[0]
        Delivery.objects.filter(pk=first.pk).update(state="DELIVERED", ended_at=old, created=old)
        Delivery.objects.exclude(pk=first.pk).update(created=old)
        delivering.tidy()
        assert [d.state for d in deliveries(hook)] == ["WAITING"]


def test_an_operator_may_disable_a_webhook_and_change_nothing_else(client):
    client.force_login(factories.account("operator"))
    hook = factories.webhook()
    where = "/admin/webhooks/webhook/"
    page = client.get(where)
    assert page.status_code == 200 and hook.url in page.content.decode()
    client.post(where, {"action": "disable_chosen", "_selected_action": [str(hook.pk)]})
    hook.refresh_from_db()
    assert not hook.enabled
    assert client.get(f"{where}add/").status_code == 403
    assert client.post(f"{where}{hook.pk}/change/", {"url": "https://evil.example"}).status_code == 403
    for model in (Webhook, Delivery):
        assert "salt" not in admin.site._registry[model].get_fields(None)
