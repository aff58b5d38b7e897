"""The modules of a provider's page in a real browser: worker, IndexedDB, WebCrypto, the portal's own policy and routes."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.query.approval import sign
from portal.registry import actions, bundles
from portal.registry.models import Dataset
from providers.bundle import SUITE, chunk_info
from providers.keys import PartyKeys
from tests.frontend.make import fixed, party_set, seal_key

CODEBOOK = """{"primaryKey": "id", "title": "A small trial", "capacity": 64, "fields": [
 {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 127}},
 {"name": "arm", "type": "string", "categories": ["a", "b"]}],
 "policy": {"epsilon": 2.5, "expires": "2030-01-01"}}"""


def in_page(page, body: str, **given):
    """Run a body of JavaScript that sees the modules and `given`; what it returns."""
    script = (
        """async (given) => {
          const load = (name) => import(`/static/web/provider/${name}.js`);
          const [{startBackground}, keys, {openStore}, uploads] =
              await Promise.all(["background", "keys", "storage", "upload"].map(load));
          const store = openStore();
          const background = startBackground();
          const csrf = document.cookie.match(/csrftoken=([^;]+)/)?.[1] ?? "";
        """
        + body
        + "}"
    )
    return page.evaluate(script, {"codebook": CODEBOOK, **given})


TABLE = "id,age,arm\n" + "".join(f"p{n},{20 + n},{'ab'[n % 2]}\n" for n in range(40))


@pytest.fixture
def page(open_page):
    return open_page("provider")


def test_a_worker_reads_and_checks_while_the_page_says_how_far_it_is(page):
    said = in_page(
        page,
        """
        const told = [];
        const [table] = await background.read({files: [new File([given.table], "t.csv")]}, {progress: (x) => told.push(x)});
        const good = await background.check({codebook: given.codebook});
        await background.read({files: [new File([given.table + "p99,400,z\\n"], "t.csv")]});
        const bad = await background.check({codebook: given.codebook});
        const {codebook: drafted} = await background.draft();
        return {table, good, bad, told, drafted: drafted.fields.map((field) => field.name)};
        """,
        table=TABLE,
    )
    assert (said["table"]["rows"], said["table"]["header"], said["told"][-1]) == (40, ["id", "age", "arm"], 1)
    assert (said["good"]["fit"], said["good"]["problems"], said["good"]["patients"]) == (True, [], 40)
    assert {one["field"]: one["n"] for one in said["good"]["profile"]} == {"age": 40, "arm": 40}
    assert said["drafted"] == ["age", "arm"]
    assert said["bad"]["fit"] is False
    assert [(p["rule"], p["line"], p["column"]) for p in said["bad"]["problems"]] == [
        ("out_of_range", 42, "age"),
        ("unknown_level", 42, "arm"),
    ]


def test_a_key_stays_over_a_reload_and_no_script_can_export_it(page):
    made = in_page(
        page,
        "const {key, pem} = await keys.generateKey(); await keys.storeKey(key, store); return {public: key.publicKey, pem};",
    )
    page.reload()
    kept = in_page(
        page,
        """
        const key = await keys.loadKey(store);
        const object = {type: "fourfold/1/test"};
        const signed = await keys.isSigned(object, await keys.signObject(object, key), key.publicKey);
        const taken = await crypto.subtle.exportKey("pkcs8", key.signing).then(() => true, () => false);
        const again = (await keys.importKey(given.pem)).publicKey;
        return {public: key.publicKey, signed, taken, again};
        """,
        pem=made["pem"],
    )
    assert kept == {"public": made["public"], "signed": True, "taken": False, "again": made["public"]}


@pytest.fixture
def parties(crew, settings):
    """Four parties with both their keys, as a deployment has them; their private keys are those of the vectors."""
    four = [{**one, "fingerprint": PartyKeys(**one).fingerprint} for one in party_set()]
    settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps(four))
    return four


def opened(dataset: Dataset, party: int) -> bytes:
    """What a party finds in its bundle."""
    info = chunk_info(party, dataset.manifest_hash, 0, 1)
    return SUITE.decrypt(bundles.read(dataset.chunks.get(party=party)), seal_key(party), info)


def give_receipt(dataset: Dataset, party: int) -> None:
    report = {"type": "fourfold/1/receipt", "party": party, "dataset": dataset.pk, "manifest_hash": dataset.manifest_hash, "time": 7}  # fmt: skip
    signature = sign(report, Ed25519PrivateKey.from_private_bytes(fixed(f"sign {party}")))
    actions.receive(dataset=dataset, party=party, report=report, signature=signature)


def test_a_table_is_uploaded_and_after_a_reload_waited_for_until_the_parties_have_signed(parties, page):
    begin = """
        const portal = new uploads.Portal({csrf});
        const {deployment, first} = await keys.pins.check(location.origin, await portal.parties(), store);
        """
    resumed = """
        const [{id}] = await uploads.unfinished(store);
        const said = await background.resume({id, deployment, csrf, timeout: 0}).catch((wrong) => wrong.message);
        return {first, said, left: (await uploads.unfinished(store)).length};
        """
    sent = in_page(
        page,
        begin
        + """
        const {key} = await keys.generateKey();
        await background.read({files: [new File([given.table], "t.csv")]});
        await background.check({codebook: given.codebook});
        const told = [];
        const wrong = await background.upload({key, deployment, csrf, timeout: 0}, {progress: (x) => told.push(x)})
            .then(() => null, (wrong) => wrong.name);
        return {wrong, first, told, unfinished: await uploads.unfinished(store)};
        """,
        table=TABLE,
    )
    assert (sent["wrong"], sent["first"]) == ("UploadInterrupted", True)
    assert sent["told"] == sorted(sent["told"])
    dataset = Dataset.objects.get()
    assert [one["id"] for one in sent["unfinished"]] == [dataset.pk]
    assert dataset.state == "CHECKING"
    assert bundles.counts(dataset) == [(1, 1)] * 4
    for party in range(4):
        clear = opened(dataset, party)
        header = json.loads(clear[4 : 4 + int.from_bytes(clear[:4], "big")])
        assert (header["party"], header["manifest_hash"]) == (party, dataset.manifest_hash)
    page.reload()
    waiting = in_page(page, begin + resumed)
    assert waiting["first"] is False
    assert "no receipt of party 0, 1, 2, 3" in waiting["said"]
    for party in range(4):
        give_receipt(dataset, party)
    assert in_page(page, begin + resumed) == {"first": False, "said": dataset.pk, "left": 0}


def test_keys_that_have_changed_are_refused_in_the_page(parties, page, settings):
    check = """
        const portal = new uploads.Portal({csrf});
        return keys.pins.check(location.origin, await portal.parties(), store).then(() => null, ({changes}) => changes);
        """
    assert in_page(page, check) is None
    other = {**parties[2], "seal": "ab" * 32}
    other["fingerprint"] = PartyKeys(party=2, seal=other["seal"], sign=other["sign"]).fingerprint
    settings.FOURFOLD_PARTIES_FILE.write_text(json.dumps([*parties[:2], other, parties[3]]))
    changes = [{"name": "party 2", "was": parties[2]["fingerprint"], "is": other["fingerprint"]}]
    assert in_page(page, check) == changes
