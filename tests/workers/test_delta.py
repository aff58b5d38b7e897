"""Plans with delta at the parties: what each refuses by itself, two accountings in one ledger, four parties' answer."""

import sqlite3
import threading
from math import isqrt

import pytest

from analytics.privacy.filters import Allowance, Loss
from analytics.query.model import digest
from analytics.query.plan import compile as compile_plan
from tests.workers.test_mandate import ask, order, refusal
from tests.workers.test_party import Four
from tests.workers.world import ROWS, World, codebook
from workers.errors import BudgetExhausted, BundleRejected, LedgerError
from workers.ledger import Balance, Charge, Ledger
from workers.manifest import Manifest

MICRO, MILLIONTH = 10**6, 10**12
D1 = "d1" * 16
PROGRAM = "\n".join(f"count() where age >= {k}" for k in range(20, 34))  # fourteen tables
POLICY = Allowance.of(10 * MICRO, MILLIONTH)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world of a dataset whose policy has a delta."""
    world = World(tmp_path_factory.mktemp("world"))
    world.count = 0
    world.give(world.prepare(codebook(policy={"delta": "1e-6"})))
    return world


@pytest.fixture(scope="module")
def pure(tmp_path_factory):
    """A world of a dataset of epsilon alone."""
    world = World(tmp_path_factory.mktemp("pure"))
    world.count = 0
    world.give(world.prepare())
    return world


def with_delta(world, **changes):
    return order(world, PROGRAM, **{"atto_delta": MILLIONTH // 10, "micro_epsilon": 100_000, **changes})


@pytest.mark.parametrize("party", range(4))
def test_every_party_reserves_epsilon_delta_and_squares(world, party):
    own = world.parties[party].ledger
    asked = with_delta(world)
    before = own.balance(asked.datasets[0].id) or Balance(cap=0, reserved=0, spent=0, mode=None)
    mandate = ask(world, world.envelope(asked), party=party)
    after = own.balance(asked.datasets[0].id)
    assert (after.cap, after.delta_cap) == (10 * MICRO, MILLIONTH)
    assert after.reserved - before.reserved == 100_000
    assert after.atto_delta - before.atto_delta == MILLIONTH // 10
    assert after.squares - before.squares == sum(r.micro_epsilon**2 for r in mandate.plan.releases) > 0
    assert sum(r.micro_epsilon for r in mandate.plan.releases) > 100_000


@pytest.mark.parametrize("party", range(4))
@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"atto_delta": 0}, "plan_hash"),  # dropped: the noise would be that of a plan with delta
        ({"atto_delta": MILLIONTH // 5}, "plan_hash"),  # raised
        ({"atto_delta": MILLIONTH // 20}, "plan_hash"),  # charged less than the noise is worth
        ({"squares": 0}, "terms_differ"),
        ({"squares": 1}, "terms_differ"),
    ],
)
def test_an_order_that_says_another_delta_than_its_plan_is_refused(world, party, lie, code):
    assert refusal(world, world.envelope(with_delta(world, **lie_as(world, lie))), party=party) == code


def lie_as(world, lie):
    """The changes of an order: its plan stays that of the honest delta."""
    honest = with_delta(world)
    return {"plan_hash": honest.plan_hash, "squares": honest.squares, **lie}


@pytest.mark.parametrize("party", range(4))
def test_a_plan_without_delta_that_is_said_to_have_one_is_refused(world, party):
    honest = order(world, PROGRAM)
    lied = order(world, PROGRAM, atto_delta=MILLIONTH // 10, plan_hash=honest.plan_hash)
    assert refusal(world, world.envelope(lied), party=party) == "plan_hash"


@pytest.mark.parametrize("party", range(4))
def test_more_delta_than_the_provider_signed_is_refused(world, pure, party):
    above = with_delta(world, atto_delta=MILLIONTH + 1)
    assert refusal(world, world.envelope(above), party=party) == "delta_above_policy"
    assert refusal(pure, pure.envelope(with_delta(pure)), party=party) == "delta_not_allowed"


@pytest.mark.parametrize("party", range(4))
def test_squares_are_charged_only_where_a_policy_has_delta(pure, party):
    facts = [pure.facts(dataset) for dataset in pure.datasets.values()]
    squares = compile_plan("count()", facts, 1000, "dp").loss.squares
    assert refusal(pure, pure.envelope(order(pure, squares=squares)), party=party) == "terms_differ"
    ask(pure, pure.envelope(order(pure)), party=party)


def test_few_tables_get_no_delta_from_a_party_either(world):
    honest = order(world, "count()")
    lied = order(world, "count()", squares=honest.squares, plan_hash=honest.plan_hash)
    body = {**lied.public(), "atto_delta": 1_000_000_000}
    from analytics.query.order import Order

    assert refusal(world, world.envelope(Order.parse(body))) == "program_rejected"


@pytest.mark.parametrize("delta", [0, -1, 10**15, "1e-6", True, None])
def test_a_manifest_with_an_odd_delta_is_rejected(world, delta):
    [dataset] = world.datasets.values()
    policy = {**dataset.manifest["policy"], "atto_delta": delta}
    again = world.resigned(dataset, policy=policy)
    with pytest.raises(BundleRejected, match="atto_delta"):
        Manifest.parse(dict(again.manifest), again.signature)


def test_a_manifest_whose_delta_is_not_below_one_in_the_capacity_is_rejected(world):
    [dataset] = world.datasets.values()
    again = world.resigned(dataset, capacity=2**24)
    with pytest.raises(BundleRejected, match="atto_delta"):
        Manifest.parse(dict(again.manifest), again.signature)


# -- the ledger ------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "party.sqlite3")


def hold(ledger, number, *epsilons, delta=0, charged=None, cap=10 * MICRO, delta_cap=MILLIONTH):
    squares = sum(e * e for e in epsilons)
    charge = Charge(
        dataset=D1, micro_epsilon=charged or sum(epsilons), cap=cap, atto_delta=delta, squares=squares,
        delta_cap=delta_cap,
    )  # fmt: skip
    ledger.reserve(
        nonce=f"{number:032x}", attempt=1, query="q", order_hash="0" * 64, mode="dp", charges=[charge]
    )


def test_many_small_plans_pass_the_sum_of_epsilons_and_stop_at_rho(ledger):
    each, number = [50_000] * 20, 0  # epsilon 1 each
    with pytest.raises(BudgetExhausted):
        for number in range(1000):
            hold(ledger, number, *each)
    assert number == POLICY.squares // (20 * 50_000**2) == 59
    balance = ledger.balance(D1)
    assert balance.reserved == 59 * MICRO > balance.cap
    assert ledger.verify()[0] == 59


def test_few_large_plans_stop_at_the_sum_of_epsilons(ledger):
    for number in range(4):
        hold(ledger, number, 2_500_000)
    with pytest.raises(BudgetExhausted) as refused:
        hold(ledger, 5, 1)
    assert refused.value.left == 0


def test_deltas_add_up_to_half_of_the_policys_and_rho_lets_more_pass(ledger):
    for number in range(5):
        hold(ledger, number, 1_500_000, charged=1_000_000, delta=MILLIONTH // 10)
    with pytest.raises(BudgetExhausted) as refused:
        hold(ledger, 6, 1_500_000, charged=1_000_000, delta=MILLIONTH // 10)
    assert refused.value.left == 5 * MICRO  # without delta
    hold(ledger, 7, 5_000_000)


def test_what_is_left_is_told_by_the_accounting_that_permits_more(ledger):
    hold(ledger, 1, *[50_000] * 400)  # epsilon 20: only rho lets it pass
    left = isqrt(POLICY.squares - 400 * 50_000**2)
    with pytest.raises(BudgetExhausted) as refused:
        hold(ledger, 2, left + 1)
    assert refused.value.left == left
    hold(ledger, 3, left)


def test_a_chain_without_delta_knows_the_sum_alone(ledger):
    hold(ledger, 1, *[1_000] * 9_999, delta_cap=0)
    with pytest.raises(BudgetExhausted):
        hold(ledger, 2, 2_000, delta_cap=0)
    with pytest.raises(BudgetExhausted):
        hold(ledger, 3, 1_000, delta=1, delta_cap=0)


def test_a_cap_of_delta_above_the_first_one_is_refused(ledger):
    hold(ledger, 1, 1000)
    with pytest.raises(LedgerError, match="above the one this ledger began with"):
        hold(ledger, 2, 1000, delta_cap=2 * MILLIONTH)
    hold(ledger, 3, 1000, delta_cap=MILLIONTH // 2)


def test_what_returns_returns_in_all_three_counts(ledger):
    hold(ledger, 1, 1000, delta=7)
    hold(ledger, 2, 2000, 2000, charged=3000, delta=5)
    ledger.close(nonce=f"{2:032x}", attempt=1, outcome="timeout")
    balance = ledger.balance(D1)
    assert (balance.reserved, balance.atto_delta, balance.squares) == (1000, 7, 1000**2)
    ledger.spend(nonce=f"{1:032x}", attempt=1, session="ab" * 32)
    assert (ledger.balance(D1).spent, ledger.verify()[0]) == (1000, 4)


@pytest.mark.parametrize("column", ["atto_delta", "squares"])
def test_an_edited_delta_is_found(ledger, tmp_path, column):
    hold(ledger, 1, 1000, delta=7)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        db.execute("DROP TRIGGER lines_never_change")
        db.execute(f"UPDATE lines SET {column} = {column} - 1")
    with pytest.raises(LedgerError, match="line 1"):
        ledger.verify()


@pytest.mark.parametrize("column", ["delta_held", "squares_held"])
def test_sums_of_delta_that_do_not_follow_are_found(ledger, tmp_path, column):
    hold(ledger, 1, 1000, delta=7)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        db.execute(f"UPDATE chains SET {column} = 0")
    with pytest.raises(LedgerError, match="do not follow"):
        ledger.verify()


def test_the_database_itself_stops_what_neither_accounting_lets_pass(ledger, tmp_path):
    hold(ledger, 1, 1000, delta=7)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        db.execute(f"UPDATE chains SET held = 10 * {10**6} + 1")  # rho lets it pass
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(f"UPDATE chains SET squares_held = {POLICY.squares + 1}")


def test_a_race_of_plans_with_delta_never_passes_both_accountings(ledger):
    """Sixty threads; the ledger's last state fits one of the two, and one more of either kind does not."""
    passed = []

    def one(number):
        try:
            if number % 2:
                hold(ledger, number, *[100_000] * 13, charged=MICRO, delta=MILLIONTH // 20)
            else:
                hold(ledger, number, 1_300_000)
            passed.append(number)
        except BudgetExhausted:
            pass

    threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    balance = ledger.balance(D1)
    odd = sum(number % 2 for number in passed)
    assert balance.reserved == odd * MICRO + (len(passed) - odd) * 1_300_000
    assert (balance.atto_delta, ledger.verify()[0]) == (odd * MILLIONTH // 20, len(passed))
    held = Loss(micro_epsilon=balance.reserved, atto_delta=balance.atto_delta, squares=balance.squares)
    assert POLICY.covers(held)
    assert not POLICY.covers(held + Loss(micro_epsilon=1_300_000, squares=1_300_000**2))


def test_debits_that_were_missed_are_entered_until_both_accountings_are_exhausted(ledger):
    def enter(number, epsilon, delta=0):
        charge = Charge(
            dataset=D1, micro_epsilon=epsilon, cap=10 * MICRO, atto_delta=delta, squares=epsilon**2,
            delta_cap=MILLIONTH,
        )  # fmt: skip
        ledger.take_over(
            nonce=f"{number:032x}", attempt=1, query="q", order_hash="0" * 64, mode="dp", charges=[charge]
        )

    enter(1, 6 * MICRO, delta=MILLIONTH // 4)
    enter(2, 6 * MICRO, delta=MILLIONTH // 2)
    balance = ledger.balance(D1)
    assert (balance.spent, balance.atto_delta) == (10 * MICRO, MILLIONTH // 2)
    with pytest.raises(BudgetExhausted):
        hold(ledger, 3, 1)
    ledger.verify()


# -- a ledger of before -----------------------------------------------------------------------------------------

BEFORE = """
ALTER TABLE lines DROP COLUMN atto_delta; ALTER TABLE lines DROP COLUMN squares;
ALTER TABLE debits DROP COLUMN atto_delta; ALTER TABLE debits DROP COLUMN squares;
ALTER TABLE versions DROP COLUMN delta_cap;
CREATE TABLE old (
    dataset TEXT PRIMARY KEY, cap INTEGER NOT NULL, mode TEXT CHECK (mode IN ('dp', 'exact')),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND cap)
) STRICT;
INSERT INTO old SELECT dataset, cap, mode, held FROM chains;
DROP TABLE chains;
ALTER TABLE old RENAME TO chains;
"""


@pytest.fixture
def before(tmp_path):
    """A ledger as the release before wrote it: one attempt spent, one reserved."""
    path = tmp_path / "party.sqlite3"
    ledger = Ledger(path)
    for number in (1, 2):
        charge = Charge(dataset=D1, micro_epsilon=3, cap=10)
        ledger.reserve(
            nonce=f"{number:032x}", attempt=1, query="q", order_hash="0" * 64, mode="dp", charges=[charge]
        )
    ledger.spend(nonce=f"{1:032x}", attempt=1, session="ab" * 32)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.executescript(BEFORE)
        names = [row[1] for row in db.execute("PRAGMA table_info(lines)")]
        for row in db.execute("SELECT * FROM lines"):
            line = dict(zip(names, row, strict=True))
            assert line.pop("hash") == digest({"type": "fourfold/1/ledger", **line})  # as it always was
    return path


def test_an_older_ledger_is_read_as_it_is_and_by_a_writer_brought_up_to_date(before):
    assert Ledger(before, readonly=True).verify()[0] == 3
    ledger = Ledger(before)
    assert ledger.verify()[0] == 3
    assert ledger.balance(D1) == Balance(cap=10, reserved=3, spent=3, mode="dp")
    ledger.close(nonce=f"{2:032x}", attempt=1, outcome="timeout")
    hold(ledger, 3, 7, cap=10, delta_cap=0)
    with pytest.raises(BudgetExhausted):
        hold(ledger, 4, 1, cap=10, delta_cap=0)
    assert Ledger(before).verify()[0] == 5
    with sqlite3.connect(before) as db, pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE lines SET squares = 1")


def test_two_processes_may_bring_an_older_ledger_up_to_date_at_once(before):
    found = []
    threads = [threading.Thread(target=lambda: found.append(Ledger(before).verify())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [length for length, _ in found] == [3] * 8


# -- four parties -------------------------------------------------------------------------------------------------


def test_four_parties_answer_a_plan_with_delta_and_charge_it_alike(tmp_path):
    world = World(tmp_path, minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1, "delta": "1e-6"})))
    four = Four(world)
    asked = world.order(PROGRAM, micro_epsilon=4_000_000, atto_delta=MILLIONTH // 2)
    assert four.ask(asked) == dict.fromkeys(range(4), "answered")
    results = world.portal.said("result")
    assert len({(r["session"], r["result_hash"], r["plan_hash"]) for r in results}) == 1
    integers = next(body["integers"] for body in world.portal.reports if "integers" in body)
    assert all(abs(table[0] - ROWS) < 150 for table in integers)
    for party in world.parties:
        balance = party.ledger.balance(asked.datasets[0].id)
        assert (balance.spent, balance.atto_delta) == (4_000_000, MILLIONTH // 2)
        assert balance.squares == asked.squares
        assert party.ledger.verify()[0] == 2


def test_a_later_version_brings_no_more_delta(tmp_path):
    world = World(tmp_path)
    one = world.prepare(codebook(policy={"delta": "1e-7"}))
    world.serve(one)
    from workers import chain

    party = world.parties[0]
    known = chain._version(Manifest.parse(dict(one.manifest), one.signature))
    more = world.successor(one, codebook(policy={"delta": "1e-6"}))
    less = world.successor(one, codebook(policy={}))
    with pytest.raises(BundleRejected, match="brings no more") as refused:
        chain.check(Manifest.parse(dict(more.manifest), more.signature), known)
    assert refused.value.code == "chain_budget"
    chain.check(Manifest.parse(dict(less.manifest), less.signature), known)
    assert party.ledger.newest(one.id) is None
