"""The metrics of a party, for Prometheus: what its attempts added up to, its ledger, its store.

Answered by a thread of the worker's main process on METRICS_PORT (off unless set), without a password: on loopback
unless METRICS_HOST says otherwise. Public: all of it; the sizes of stored tables are those of their capacity.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from workers.config import PARTIES, Config
from workers.errors import WorkerError
from workers.heartbeat import no_fork
from workers.ledger import Ledger
from workers.metrics import ANSWERED, STAGES, WITHHELD, totals

log = logging.getLogger(__name__)


class Figures(Collector):
    """Everything that a scrape shows."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def collect(self) -> Iterator[Metric]:
        # A child that is forked in the middle would inherit SQLite's locks (see workers.heartbeat).
        with no_fork:
            return iter([*self._counted(), *self._kept()])

    def _counted(self) -> Iterable[Metric]:
        try:
            found = totals(self.config)
        except (sqlite3.Error, OSError) as wrong:
            log.warning("no metrics of attempts: %s", type(wrong).__name__)
            return
        sessions = CounterMetricFamily(
            "fourfold_party_sessions", "Attempts that ended here, by outcome", labels=["outcome"]
        )
        aborts = CounterMetricFamily(
            "fourfold_party_aborts", "Attempts without an answer, by public code", labels=["code"]
        )
        by_outcome = found.get("sessions", {})
        ended = {outcome: by_outcome.get(outcome, 0.0) for outcome in (ANSWERED, WITHHELD)}
        for outcome, number in ended.items():
            sessions.add_metric([outcome], number)
        sessions.add_metric(["aborted"], sum(by_outcome.values()) - sum(ended.values()))
        for code, number in by_outcome.items():
            if code not in ended:
                aborts.add_metric([code], number)
        yield from (sessions, aborts)
        yield _counter(
            "fourfold_party_rounds", "Rounds of sessions, handshakes included", found.get("rounds")
        )
        yield _counter("fourfold_party_sent_bytes", "Bytes that sessions sent", found.get("bytes"))
        stages = SummaryMetricFamily(
            "fourfold_party_stage_seconds", "Seconds of a session's stages", labels=["stage"]
        )
        for stage in STAGES:
            passed = found.get("stages", {}).get(stage, 0.0)
            seconds = found.get("seconds", {}).get(stage, 0.0)
            stages.add_metric([stage], count_value=int(passed), sum_value=seconds)
        yield stages

    def _kept(self) -> Iterable[Metric]:
        try:
            ledger = Ledger(self.config.database)
            length, _ = ledger.head()
            heads, unposted = len(ledger.peers()), len(ledger.unposted())
            hidden = ledger.withheld()
        except (WorkerError, OSError) as wrong:
            log.warning("no metrics of the ledger: %s", type(wrong).__name__)
        else:
            yield _gauge("fourfold_party_ledger_lines", "Lines of the ledger", length)
            yield _gauge(
                "fourfold_party_ledger_heads", f"Peers whose ledger head is known, of {PARTIES - 1}", heads
            )
            withheld = GaugeMetricFamily(
                "fourfold_party_withheld_answers",
                "Exact plans on a chain that showed nothing and wait for review",
                labels=["chain"],
            )
            for chain, number in hidden.items():
                withheld.add_metric([chain], number)
            yield withheld
            yield _gauge("fourfold_party_unposted_reports", "Last reports the portal has not taken", unposted)
        yield _gauge("fourfold_party_store_bytes", "Bytes of the store on disk", stored(self.config.store))


def stored(folder: Path) -> int:
    """Bytes of all files below; one that goes away meanwhile does not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def serve(config: Config) -> None:
    """Answer on METRICS_HOST:METRICS_PORT from a thread of this process, if a port is set.

    A port that is taken is said in the log; the party works all the same.
    """
    if not config.metrics_port:
        return
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(config))
    try:
        server, _ = start_http_server(config.metrics_port, config.metrics_host, registry)
    except OSError as wrong:
        log.warning("no metrics on %s:%d: %s", config.metrics_host, config.metrics_port, wrong.strerror)
        return
    # A child that outlives this process must not keep the port.
    os.register_at_fork(after_in_child=server.socket.close)
    log.info("metrics on %s:%d", config.metrics_host, config.metrics_port)


def _counter(name: str, words: str, found: Mapping[str, float] | None) -> Metric:
    return CounterMetricFamily(name, words, value=sum((found or {}).values()))


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)
