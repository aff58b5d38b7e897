"""Which test notices which mistake: every mutant of the engine is killed by the check that is there for it.

A row is a mutant and a check of another module of tests, the very function that its test calls. The engine itself
passes each of them, in that module.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpcnode import channel as channel_module
from tests.analytics import test_execute
from tests.cheating import mutants, test_pads, test_release_order, test_round_zero, test_tampering
from tests.cheating.bench import Engine, flip, play
from tests.cheating.program import NOISE, expected
from tests.cheating.test_masks import OPERATIONS, masks_hide
from tests.cheating.test_noise_unknown import coins_are_unknown
from tests.cheating.test_payload_hashes import no_payload_leaves
from tests.mpcnode import test_release
from tests.noise import test_plan_noise


@pytest.mark.parametrize(
    "engine",
    [
        mutants.SKIP_TAG_CHECK,
        mutants.CHECK_AFTER_NEXT_SEND,
        mutants.TAG_ONE_ROUND_LATE,
        mutants.HASH_AT_THE_END,
        mutants.VOUCHER_TAGS_WHAT_IT_RECEIVED,
        mutants.MASKS_OFF,
        mutants.STREAM_NOT_ADVANCED,
        mutants.BLOCK_NOT_IN_KEY,
        mutants.COINS_FROM_ONE_KEY,
        mutants.COMMIT_AT_OPENING,
        mutants.READY_AFTER_OPENING,
        mutants.ONE_DEADLINE,
        mutants.TRANSCRIPT_OF_PAYLOADS,
    ],
    ids=str,
)
def test_a_mutant_answers_like_the_engine_while_nobody_lies(engine: Engine) -> None:
    """That is why right answers prove nothing about secrecy, and why the other tests of this table exist."""
    run = play(1, test_tampering.INPUTS, engine=engine)
    for answer in run.outcomes:
        off = np.abs((answer - expected(test_tampering.INPUTS)).astype(np.int64))
        assert (off[:2] <= NOISE).all() and not off[2:].any()


def lies(engine: Engine, where: str, check: Callable[..., None]) -> None:
    """One lie in each round of each link, to the words where there are any or to the tag, held to one check."""
    for number in range(test_tampering.rounds()):
        for frm, to in test_tampering.LINKS:
            words = test_tampering.layout()[number, frm, to][-1][2]
            if where == "words" and not words:
                continue

            def act(payload: bytearray, tag: bytearray) -> None:
                flip(payload if where == "words" else tag, 3)

            run = test_tampering.lie(frm, to, number, act, engine)
            check(run, frm, to, number, engine)


def caught(run: Any, frm: int, to: int, number: int, engine: Engine) -> None:
    test_tampering.is_caught_at_once(run, frm, to, number)


def prefix(run: Any, frm: int, to: int, number: int, engine: Engine) -> None:
    test_tampering.honest_frames_are_a_prefix(run, frm, engine)


TAGS = [
    (mutants.SKIP_TAG_CHECK, "words", caught),
    (mutants.SKIP_TAG_CHECK, "tag", caught),
    (mutants.VOUCHER_TAGS_WHAT_IT_RECEIVED, "words", caught),
    (mutants.CHECK_AFTER_NEXT_SEND, "words", caught),
    (mutants.TAG_ONE_ROUND_LATE, "words", caught),
    (mutants.HASH_AT_THE_END, "words", caught),
    # Seen from the corrupt party: it receives what it would not receive in the honest run.
    (mutants.SKIP_TAG_CHECK, "words", prefix),
    (mutants.VOUCHER_TAGS_WHAT_IT_RECEIVED, "words", prefix),
    (mutants.CHECK_AFTER_NEXT_SEND, "words", prefix),
    (mutants.TAG_ONE_ROUND_LATE, "words", prefix),
    (mutants.HASH_AT_THE_END, "words", prefix),
]


@pytest.mark.parametrize(
    ("engine", "where", "check"), TAGS, ids=[f"{e}: {check.__name__}, {where}" for e, where, check in TAGS]
)
def test_late_or_missing_tag_checks_are_killed_by_tampering(
    engine: Engine, where: str, check: Callable[..., None]
) -> None:
    with pytest.raises(AssertionError):
        lies(engine, where, check)


@pytest.mark.parametrize("engine", [mutants.MASKS_OFF, mutants.MASK_THE_RECEIVER_KNOWS], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_missing_and_known_masks_are_killed_in_every_operation(name: str, engine: Engine) -> None:
    for p in range(4):
        with pytest.raises(AssertionError, match="not uniform|take the mask off"):
            masks_hide(name, p, 4, engine)


@pytest.mark.parametrize("engine", [mutants.STREAM_NOT_ADVANCED, mutants.BLOCK_NOT_IN_KEY], ids=str)
def test_pads_used_twice_are_killed_by_the_recorder(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="draws"):
        test_pads.pads_are_new(monkeypatch, engine)


def test_a_sequence_that_stands_still_is_killed_by_the_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    true = channel_module._Direction.next

    def still(direction: Any, *place: Any) -> Any:
        direction.sequence = 0
        return true(direction, *place)

    monkeypatch.setattr(channel_module._Direction, "next", still)
    with pytest.raises(AssertionError, match="repeats a nonce of a seal"):
        test_pads.pads_are_new(monkeypatch)


@pytest.mark.parametrize(
    ("engine", "p"), [(mutants.COINS_FROM_ONE_KEY, 1), (mutants.MASKS_OFF, 0)], ids=lambda value: str(value)
)
def test_noise_that_a_party_can_compute_is_killed_by_its_best_guess(
    engine: Engine, p: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="guesses 100.0%"):
        coins_are_unknown(p, monkeypatch, engine)


@pytest.mark.parametrize("wrong", ["key", "component"])
def test_no_confirmation_is_killed_by_a_disagreement_before_round_0(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="starts"):
        test_round_zero.wrong_at_one_holder(monkeypatch, 0, 1, 2, wrong == "key", confirm=False)


ORDERS = [
    (mutants.COMMIT_AT_OPENING, test_release_order.ready_leaves_after_the_debit),
    (mutants.COMMIT_AT_OPENING, test_release_order.nothing_opens_before_every_ready),
    (mutants.COMMIT_AT_OPENING, test_release_order.whoever_is_opened_to_alone_has_been_paid_for_by_all),
    (mutants.READY_AFTER_OPENING, test_release_order.nothing_opens_before_every_ready),
    (mutants.ONE_DEADLINE, test_release_order.what_is_opened_at_the_last_moment_all_honest_parties_have),
]


@pytest.mark.parametrize(("engine", "check"), ORDERS, ids=[f"{e}: {check.__name__}" for e, check in ORDERS])
def test_another_order_of_debit_ready_and_opening_is_killed(
    engine: Engine, check: Callable[..., None]
) -> None:
    with pytest.raises(AssertionError):
        check(engine)


def test_unread_signatures_of_ready_are_killed_by_a_ready_of_another_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(test_release, "verify", lambda *_: True)
    with pytest.raises(AssertionError):
        test_release.test_a_ready_of_another_plan_counts_as_silence(1)


def test_a_transcript_of_payloads_is_killed_by_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AssertionError, match="found in what parties let out"):
        no_payload_leaves(tmp_path, monkeypatch, caplog, mutants.TRANSCRIPT_OF_PAYLOADS)


def test_a_cohort_without_its_valid_rows_is_killed_by_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = mutants.source("analytics.execute", ("[rows.valid, *factors]", "[~rows.nothing(), *factors]"))
    monkeypatch.setattr(test_execute, "execute", mutant.execute)
    with pytest.raises(AssertionError):
        test_execute.test_padding_rows_and_rows_marked_invalid_count_nowhere()


NOISES = {
    "no noise": ("concatenate(flat) + noise", "concatenate(flat)"),
    "half the scale": ("thresholds(r.scale)", "thresholds(r.scale / 2)"),
    "one scale for all": ("thresholds(r.scale)", "thresholds(plan.releases[0].scale)"),
    "one noise for all": (
        "return await discrete_laplace(session, table)",
        "one = await discrete_laplace(session, table[:1]); return concatenate([one] * len(table))",
    ),
    "no noise but on the first": (
        "concatenate(flat) + noise",
        "concatenate([flat[0] + noise[: flat[0].shape[0]], *flat[1:]])",
    ),
}


@pytest.mark.parametrize("name", NOISES)
def test_missing_small_and_shared_noise_is_killed_by_the_noise_of_plans(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = mutants.source("analytics.execute", NOISES[name])
    with pytest.raises(AssertionError, match="no noise at all|not the law|share noise"):
        test_plan_noise.every_number_has_its_own_noise(monkeypatch, mutant.execute)
