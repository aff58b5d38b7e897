"""The party's ledger: caps under a race, states of a debit, attempts, heads, kill -9."""

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from workers.errors import (
    AttemptRefused,
    BudgetExhausted,
    LedgerDamaged,
    LedgerError,
    ModeFixed,
    PeerRolledBack,
)
from workers.ledger import GENESIS, Balance, Charge, Ledger

ROOT = Path(__file__).parents[2]
D1, D2 = "d1" * 16, "d2" * 16
OTHERS = [1, 2, 3]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "party.sqlite3")


def nonce(number):
    return f"{number:032x}"


def reserve(ledger, number=1, attempt=1, micro=3, mode="dp", cap=10, datasets=(D1,)):
    ledger.reserve(
        nonce=nonce(number),
        attempt=attempt,
        query=f"query-{number}",
        order_hash="0" * 64,
        mode=mode,
        charges=[Charge(dataset=d, micro_epsilon=micro, cap=cap) for d in datasets],
    )


def spend(ledger, number=1, attempt=1):
    ledger.spend(nonce=nonce(number), attempt=attempt, session="ab" * 32)


def test_a_hundred_threads_reserving_one_with_cap_ten_get_exactly_ten(ledger):
    outcomes = []

    def one(number):
        try:
            reserve(ledger, number, micro=1)
            outcomes.append("reserved")
        except BudgetExhausted:
            outcomes.append("refused")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("reserved") == 10 and outcomes.count("refused") == 90
    assert ledger.balance(D1) == Balance(cap=10, reserved=10, spent=0, mode=None)
    assert ledger.verify()[0] == 10


def test_a_reservation_over_the_cap_of_one_dataset_reserves_nothing_of_the_others(ledger):
    reserve(ledger, 1, micro=8, datasets=(D2,))
    before = ledger.head()
    with pytest.raises(BudgetExhausted) as refused:
        reserve(ledger, 2, micro=3, datasets=(D1, D2))
    assert (refused.value.asked, refused.value.left) == (3, 2)
    assert ledger.balance(D1) is None and ledger.head() == before
    assert ledger.attempt(nonce(2), 1) is None


def test_the_whole_cap_can_be_spent_and_not_one_millionth_more(ledger):
    reserve(ledger, 1, micro=10)
    spend(ledger, 1)
    ledger.close(nonce=nonce(1), attempt=1, outcome="released")
    assert ledger.balance(D1) == Balance(cap=10, reserved=0, spent=10, mode="dp")
    with pytest.raises(BudgetExhausted):
        reserve(ledger, 2, micro=1)


def test_what_was_reserved_returns_on_close_and_what_was_spent_does_not(ledger):
    reserve(ledger, 1)
    ledger.close(nonce=nonce(1), attempt=1, outcome="timeout")
    reserve(ledger, 2)
    spend(ledger, 2)
    ledger.close(nonce=nonce(2), attempt=1, outcome="timeout")
    ledger.close(nonce=nonce(2), attempt=1, outcome="again", answer="{}")
    assert ledger.balance(D1) == Balance(cap=10, reserved=0, spent=3, mode="dp")
    kept = ledger.attempt(nonce(2), 1)
    assert (kept["outcome"], kept["answer"]) == ("timeout", "")
    assert ledger.verify()[0] == 4


@pytest.mark.parametrize("given", [{}, {1: "s", 2: "s"}, {0: "s", 1: "s", 2: "s"}])
def test_a_spent_debit_stays_without_abandon_of_every_other_party(ledger, given):
    reserve(ledger)
    spend(ledger)
    ledger.abandon(nonce=nonce(1), attempt=1)
    with pytest.raises(LedgerError, match="stays"):
        ledger.take_back(nonce=nonce(1), attempt=1, abandons=given, others=OTHERS)
    assert ledger.balance(D1).spent == 3


def test_a_spent_debit_returns_when_everybody_abandoned_this_party_included(ledger):
    reserve(ledger)
    spend(ledger)
    everybody = dict.fromkeys(OTHERS, "s")
    with pytest.raises(LedgerError, match="might still open"):
        ledger.take_back(nonce=nonce(1), attempt=1, abandons=everybody, others=OTHERS)
    ledger.abandon(nonce=nonce(1), attempt=1)
    ledger.take_back(nonce=nonce(1), attempt=1, abandons=everybody, others=OTHERS)
    ledger.take_back(nonce=nonce(1), attempt=1, abandons=everybody, others=OTHERS)
    assert ledger.balance(D1).spent == 0 and ledger.verify()[0] == 3
    reserve(ledger, 2, micro=10)


def test_who_opened_never_abandons_and_who_abandoned_never_opens(ledger):
    reserve(ledger, 1)
    with pytest.raises(LedgerError, match="before its debit is SPENT"):
        ledger.opening(nonce=nonce(1), attempt=1)
    spend(ledger, 1)
    ledger.opening(nonce=nonce(1), attempt=1)
    with pytest.raises(LedgerError, match="has not opened and never will"):
        ledger.abandon(nonce=nonce(1), attempt=1)
    reserve(ledger, 2)
    spend(ledger, 2)
    ledger.abandon(nonce=nonce(2), attempt=1)
    with pytest.raises(LedgerError, match="has not opened and never will"):
        ledger.opening(nonce=nonce(2), attempt=1)


def test_a_debit_is_spent_once_and_only_while_its_attempt_is_open(ledger):
    reserve(ledger, 1)
    spend(ledger, 1)
    with pytest.raises(LedgerError, match="not RESERVED"):
        spend(ledger, 1)
    reserve(ledger, 2)
    ledger.close(nonce=nonce(2), attempt=1, outcome="cancelled")
    with pytest.raises(LedgerError, match="closed"):
        spend(ledger, 2)
    with pytest.raises(LedgerError, match="never accepted"):
        spend(ledger, 3)


def test_an_attempt_is_accepted_once(ledger):
    reserve(ledger, 1)
    for _ in range(5):
        with pytest.raises(AttemptRefused):
            reserve(ledger, 1)
    ledger.close(nonce=nonce(1), attempt=1, outcome="timeout")
    with pytest.raises(AttemptRefused):
        reserve(ledger, 1)
    assert ledger.head()[0] == 2


def test_the_next_attempt_waits_for_the_previous_one_to_be_closed(ledger):
    reserve(ledger, 1)
    with pytest.raises(AttemptRefused, match="still open"):
        reserve(ledger, 1, attempt=2)
    ledger.close(nonce=nonce(1), attempt=1, outcome="timeout")
    reserve(ledger, 1, attempt=2)


def test_a_party_that_missed_an_attempt_joins_the_next_and_never_goes_back(ledger):
    reserve(ledger, 1, attempt=2)
    ledger.close(nonce=nonce(1), attempt=2, outcome="timeout")
    with pytest.raises(AttemptRefused):
        reserve(ledger, 1, attempt=1)


def test_a_chain_answers_in_the_mode_of_the_first_order_that_ran(ledger):
    reserve(ledger, 1, mode="exact", micro=0)
    ledger.close(nonce=nonce(1), attempt=1, outcome="timeout")  # it never ran
    reserve(ledger, 2)
    with pytest.raises(ModeFixed):
        reserve(ledger, 3, mode="exact", micro=0)
    spend(ledger, 2)
    ledger.close(nonce=nonce(2), attempt=1, outcome="released")
    with pytest.raises(ModeFixed) as refused:
        reserve(ledger, 4, mode="exact", micro=0)
    assert refused.value.fixed == "dp"
    reserve(ledger, 5)


def test_exact_answers_cost_nothing_and_are_written_down(ledger):
    for number in range(20):
        reserve(ledger, number, mode="exact", micro=0, cap=0)
        spend(ledger, number)
        ledger.close(nonce=nonce(number), attempt=1, outcome="released")
    assert ledger.balance(D1) == Balance(cap=0, reserved=0, spent=0, mode="exact")
    assert ledger.head()[0] == 40


@pytest.mark.parametrize(("mode", "micro"), [("dp", 0), ("dp", -1), ("exact", 1)])
def test_a_debit_that_does_not_fit_its_mode_is_refused(ledger, mode, micro):
    with pytest.raises(LedgerError, match="positive in dp mode"):
        reserve(ledger, mode=mode, micro=micro)


def test_a_higher_cap_for_the_same_chain_is_refused_and_a_lower_one_counts(ledger):
    reserve(ledger, 1)
    with pytest.raises(LedgerError, match="cap is above the one"):
        reserve(ledger, 2, cap=11)
    with pytest.raises(BudgetExhausted) as refused:
        reserve(ledger, 2, cap=5)
    assert refused.value.left == 2
    reserve(ledger, 2, cap=6)


def test_attempts_of_a_killed_process_are_closed_and_only_what_was_not_spent_returns(ledger):
    reserve(ledger, 1)
    reserve(ledger, 2)
    spend(ledger, 2)
    left = ledger.left_open()
    assert [(a["nonce"], a["query"]) for a in left] == [(nonce(1), "query-1"), (nonce(2), "query-2")]
    assert [ledger.spent(nonce=a["nonce"], attempt=1) for a in left] == [False, True]
    for one in left:
        ledger.close(nonce=one["nonce"], attempt=1, outcome="crashed")
    assert ledger.balance(D1) == Balance(cap=10, reserved=0, spent=3, mode="dp")
    assert ledger.left_open() == []
    reserve(ledger, 1, attempt=2)


def test_the_last_report_is_kept_until_the_portal_took_it(ledger):
    for number in (1, 2):
        reserve(ledger, number)
    ledger.close(nonce=nonce(1), attempt=1, outcome="timeout", answer='{"report": 1}')
    ledger.close(nonce=nonce(2), attempt=1, outcome="timeout")
    assert [one["answer"] for one in ledger.unposted()] == ['{"report": 1}']
    ledger.mark_posted(nonce=nonce(1), attempt=1)
    assert ledger.unposted() == []


def test_a_peer_that_shows_an_older_or_another_ledger_is_refused(ledger):
    ledger.see_peer(2, 0, GENESIS)
    ledger.see_peer(2, 5, "a" * 64)
    ledger.see_peer(2, 5, "a" * 64)
    ledger.see_peer(2, 7, "b" * 64)
    for length, head in [
        (6, "c" * 64),
        (7, "c" * 64),
        (0, GENESIS),
        (-1, GENESIS),
        (0, "d" * 64),
        (9, GENESIS),
    ]:
        with pytest.raises(PeerRolledBack) as refused:
            ledger.see_peer(2, length, head)
        assert refused.value.party == 2
    ledger.see_peer(3, 1, "e" * 64)
    assert ledger.peers() == {2: (7, "b" * 64), 3: (1, "e" * 64)}


def test_a_restored_snapshot_no_longer_contains_the_head_that_peers_remember(ledger, tmp_path):
    reserve(ledger, 1)
    snapshot = tmp_path / "snapshot.sqlite3"
    with sqlite3.connect(tmp_path / "party.sqlite3") as db, sqlite3.connect(snapshot) as copy:
        db.backup(copy)
    spend(ledger, 1)
    remembered = ledger.head()
    assert ledger.contains(*remembered) and ledger.contains(0, GENESIS) and not ledger.contains(0, "f" * 64)
    assert not Ledger(snapshot).contains(*remembered)
    reserve(Ledger(snapshot), 2)
    assert not Ledger(snapshot).contains(*remembered)


def three_lines(ledger):
    reserve(ledger, 1)
    spend(ledger, 1)
    reserve(ledger, 2)


def test_lines_cannot_be_changed_or_removed_through_sql(ledger, tmp_path):
    three_lines(ledger)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        for statement in ("UPDATE lines SET micro_epsilon = 0", "DELETE FROM lines"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(statement)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("UPDATE lines SET micro_epsilon = 1 WHERE number = 2", 2),
        ("UPDATE lines SET time = 0 WHERE number = 3", 3),
        ("DELETE FROM lines WHERE number = 1", 1),
        ("DELETE FROM lines WHERE number = 2", 2),
        ("UPDATE lines SET number = 9 - number WHERE number > 1", 2),
    ],
)
def test_verify_names_the_line_that_was_edited_deleted_or_moved(ledger, tmp_path, damage, line):
    three_lines(ledger)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        db.execute("DROP TRIGGER lines_never_change")
        db.execute("DROP TRIGGER lines_never_go")
        db.execute(damage)
    with pytest.raises(LedgerDamaged, match=f"line {line} ") as found:
        ledger.verify()
    assert found.value.line == line


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM lines WHERE number = 3",
        "UPDATE chains SET held = 0",
        "UPDATE debits SET state = 'RETURNED'",
    ],
)
def test_verify_notices_a_cut_end_and_sums_that_do_not_follow(ledger, tmp_path, damage):
    three_lines(ledger)
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        db.execute("DROP TRIGGER lines_never_go")
        db.execute(damage)
    with pytest.raises(LedgerError, match="do not follow"):
        ledger.verify()


@pytest.mark.parametrize("kills", [25, pytest.param(200, marks=pytest.mark.nightly)])
def test_kill_nine_during_commits_never_loses_a_spent_line(tmp_path, kills):
    """The child says a number only after its SPENT was committed; whatever it said must be there."""
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from workers.ledger import Ledger, Charge
        ledger, start = Ledger(Path({str(tmp_path / "party.sqlite3")!r})), int(sys.argv[1])
        for left in ledger.left_open():
            ledger.close(nonce=left["nonce"], attempt=1, outcome="crashed")
        for number in range(start, start + 100000):
            charge = Charge(dataset="d1" * 16, micro_epsilon=1, cap=10**9)
            ledger.reserve(nonce=f"{{number:032x}}", attempt=1, query="q", order_hash="o", mode="dp", charges=[charge])
            ledger.spend(nonce=f"{{number:032x}}", attempt=1, session="s")
            print(number, flush=True)
    """)
    rng = random.Random(7)
    said = []
    for round_ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(round_ * 100_000)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(rng.randint(1, 25)):
            said.append(int(child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split("\n")[:-1]
        said.extend(int(line) for line in rest)
        child.wait()
        child.stdout.close()
    ledger = Ledger(tmp_path / "party.sqlite3")
    for left in ledger.left_open():
        ledger.close(nonce=left["nonce"], attempt=1, outcome="crashed")
    with sqlite3.connect(tmp_path / "party.sqlite3") as db:
        spent = {int(row[0], 16) for row in db.execute("SELECT nonce FROM lines WHERE event = 'SPENT'")}
    assert set(said) <= spent and len(spent) <= len(said) + kills
    assert ledger.verify()[0] > 0
    assert ledger.balance("d1" * 16).spent == len(spent)
