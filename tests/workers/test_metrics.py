"""A party's metrics: attempts that really ran, counted once, and nothing that follows from a value."""

import re
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from analytics.query.schema import parse_codebook
from tests.redis_server import free_port
from tests.workers.test_party import Four
from tests.workers.world import World, codebook
from workers import exporter, metrics


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("template"), minimum_cohort=1)
    world.give(world.prepare(codebook(policy={"minimum_cohort": 1})))
    return world


@pytest.fixture
def four(template, tmp_path):
    return measured(Four(template.copy(tmp_path)))


def measured(four):
    four.parties = [replace(p, config=replace(p.config, metrics_port=1)) for p in four.parties]
    return four


def shown(config):
    """{(name, label): value} of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter.Figures(config))
    return read(generate_latest(registry).decode())


def read(text):
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def test_an_answered_attempt_is_counted_with_its_rounds_bytes_and_stages_at_each_party(four):
    world = four.world
    order = world.order(micro_epsilon=1000)
    assert set(four.ask(order).values()) == {"answered"}
    rounds = world.portal.said("result")[0]["rounds"]
    figures = [shown(party.config) for party in four.parties]
    for found in figures:
        assert found["fourfold_party_sessions_total", "answered"] == 1
        assert found["fourfold_party_sessions_total", "aborted"] == 0
        assert found["fourfold_party_rounds_total",] >= rounds > 0
        assert {found["fourfold_party_stage_seconds_count", stage] for stage in metrics.STAGES} == {1}
        assert all(found["fourfold_party_stage_seconds_sum", stage] > 0 for stage in metrics.STAGES)
        assert found["fourfold_party_ledger_lines",] == 2  # reserved, spent
        assert found["fourfold_party_ledger_heads",] == 3
        assert found["fourfold_party_unposted_reports",] == 0
        assert found["fourfold_party_store_bytes",] > 0
        assert found["fourfold_party_sent_bytes_total",] > 1000


def test_attempts_without_an_answer_are_counted_by_their_public_code(four):
    world = four.world
    four.cancelled.add((world.order().query, 1))
    four.ask(world.order())
    floors = replace(four.parties[0].config.floors, minimum_cohort=50)
    four.parties[0] = replace(four.parties[0], config=replace(four.parties[0].config, floors=floors))
    four.ask(world.order(number=2), parties=[0])
    found = shown(four.parties[0].config)
    assert found["fourfold_party_aborts_total", "cancelled"] == 1
    assert found["fourfold_party_aborts_total", "floor_cohort"] == 1
    assert found["fourfold_party_sessions_total", "aborted"] == 2
    assert found["fourfold_party_sessions_total", "answered"] == 0


def test_a_task_told_again_is_not_counted_again(four):
    order = four.world.order(micro_epsilon=1000)
    four.ask(order)
    four.play()
    assert shown(four.parties[1].config)["fourfold_party_sessions_total", "answered"] == 1


def test_what_is_counted_is_the_same_whatever_the_table_holds(template, tmp_path):
    """Two tables of equal capacity, one of 300 patients and one of 40: all but seconds agree."""
    other = World(tmp_path / "other", minimum_cohort=1)
    book = codebook(policy={"minimum_cohort": 1})
    schema = parse_codebook(book)
    few = other.planes(schema.plane_names, schema.capacity, rows=40)
    assert not np.array_equal(few, other.planes(schema.plane_names, schema.capacity))
    other.give(other.prepare(book, planes=few))
    seen = []
    for world in (template.copy(tmp_path / "one"), other):
        four = measured(Four(world))
        order = world.order('count() where age >= 30 and arm = "b"', micro_epsilon=1000)
        assert set(four.ask(order).values()) == {"answered"}
        found = shown(four.parties[2].config)
        seen.append({k: v for k, v in found.items() if "seconds_sum" not in k[0]})
    assert seen[0] == seen[1]


def test_without_a_port_nothing_is_counted_and_nothing_served(four, monkeypatch):
    config = replace(four.parties[0].config, metrics_port=0)
    metrics.count(config, "answered", metrics.Watch())
    assert not (config.folder / "metrics.sqlite3").exists()
    monkeypatch.setattr(exporter, "start_http_server", lambda *_: pytest.fail("served"))
    exporter.serve(config)


def test_figures_that_cannot_be_kept_stop_no_answer(four):
    four.parties[3].config.folder.joinpath("metrics.sqlite3").mkdir()
    assert set(four.ask(four.world.order(micro_epsilon=1000)).values()) == {"answered"}


def test_it_is_served_on_loopback_and_a_taken_port_is_survived(four, caplog):
    config = replace(four.parties[0].config, metrics_port=free_port())
    metrics.count(config, "timeout", metrics.Watch())
    exporter.serve(config)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{config.metrics_port}/metrics", timeout=5) as answer:
        assert read(answer.read().decode())["fourfold_party_aborts_total", "timeout"] == 1
    exporter.serve(config)
    assert "no metrics on" in caplog.text


def test_the_page_on_monitoring_names_every_metric_and_no_other(four):
    four.ask(four.world.order(micro_epsilon=1000))
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    part = page.partition("## Metrics of a party")[2].partition("## Alerts")[0]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter.Figures(four.parties[0].config))
    shown = re.findall(r"# TYPE (fourfold_\w+)", generate_latest(registry).decode())
    assert set(re.findall(r"`(fourfold_\w+)`", part)) == set(shown)
