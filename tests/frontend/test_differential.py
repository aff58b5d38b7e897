"""Browser and command line agree: the same problems at the same places, the same counts, codes and signed manifest.

Random studies by the hundred, the corpus of malformed tables, the samples and a real trial's shape.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.frontend.differential import Case, by_providers, differences
from tests.frontend.generator import study
from tests.frontend.make import ROOT
from tests.frontend.node import needs_node
from tests.providers import gist
from tests.providers.corpus import CODEBOOK, GOOD, HEADER, TEXTS

pytestmark = needs_node

ODD = [
    GOOD,
    "\ufeff" + GOOD,
    "\ufeff\ufeff" + GOOD,
    GOOD.encode("utf-16"),
    ("\ufeff" + GOOD).encode("utf-16-be"),
    GOOD.replace("\n", "\r\n"),
    GOOD.replace("\n", "\r"),
    GOOD.replace(",", ";"),
    GOOD.replace(",", "\t"),
    "\n\n" + GOOD + "\n\n",
    "sep=;\n" + GOOD.replace(",", ";"),
    'id,age,weight,arm\n"1","5""0",70,"a"\n"2",61,81,b\n',
    HEADER + "1,500,70,a\n1,5,7x,c\n,4,5,b\n",
    HEADER + '1,50,70,"a\r\n"\n2,50,"70",b\r\n',
    HEADER + "".join(f"{n},x,70,a\n" for n in range(60)),
]


NO_CODEBOOKS = [
    "",
    "{",
    "[1]",
    "nul",
    '{"a":}',
    '{"a":1,}',
    '{"a":1}x',
    '{"a":NaN}',
    '{"a":01}',
    '{"a":1.}',
    '{"a":1e999}',
    '{"a":1,"a":2}',
    '{"a":"\\x"}',
    '{"a":"\t"}',
    '{"a":"\\ud800"}',
    '\ufeff{"primaryKey":"id"}',
    '{"facts":' + "[" * 30 + "]" * 30 + "}",
    '{"primaryKey":"id","capacity":12345678901234567890123,"fields":[],"policy":{"epsilon":1e-9,"expires":"2030-W53"}}',
]


def bytes_of(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_malformed_and_odd_tables_have_the_same_problems():
    codebook = json.dumps(CODEBOOK)
    cases = [Case(name, codebook, (("t.csv", bytes_of(content)),)) for name, (content, _) in TEXTS.items()]
    cases += [Case(f"odd {n}", codebook, (("t.csv", bytes_of(content)),)) for n, content in enumerate(ODD)]
    assert differences(cases) == []


def test_a_text_that_is_no_codebook_is_refused_in_the_same_words():
    cases = [Case(repr(text), text, ()) for text in NO_CODEBOOKS]
    assert all("rejected" in by_providers(case) for case in cases)
    assert differences(cases) == []


def test_random_studies_have_the_same_problems_counts_codes_and_manifest():
    cases = [study(seed) for seed in range(600)]
    assert differences(cases) == []
    # The comparison is of something: many are read, many become bundles, many rules are broken.
    own = [by_providers(case) for case in cases[:200]]
    assert sum(bool(one.get("manifest")) for one in own) > 20
    assert sum(one.get("columns") is not None for one in own) > 100
    assert len({p["rule"] for one in own for p in one.get("problems", one.get("rejected"))}) > 40


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_twenty_thousand_random_studies_are_the_same():
    for start in range(10_000, 30_000, 500):
        assert differences([study(seed) for seed in range(start, start + 500)]) == []


def test_the_comparison_sees_a_difference(monkeypatch):
    case = Case("one", json.dumps(CODEBOOK), (("t.csv", GOOD.encode()),))
    answers = by_providers(case)
    answers["columns"]["age"][0][0] += 1
    monkeypatch.setattr("tests.frontend.differential.by_providers", lambda case: answers)
    assert len(differences([case])) == 1


def test_the_samples_are_the_same(tmp_path):
    made = subprocess.run(
        [sys.executable, "samples/generate.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    tables = sorted(tmp_path.glob("*.csv"))
    assert tables
    codebook = (ROOT / "samples/codebook.json").read_text()
    cases = [Case(path.name, codebook, ((path.name, path.read_bytes()),)) for path in tables]
    cases.append(Case("all", codebook, tuple((path.name, path.read_bytes()) for path in tables)))
    assert differences(cases) == []


@pytest.mark.background
@pytest.mark.skipif(not gist.FOLDER.is_dir(), reason="the background folder is not beside the project")
def test_a_real_trials_files_are_the_same():
    files = tuple((path.name, path.read_bytes()) for path in (gist.IDENT, gist.EFFSEN, gist.AEV))
    own = by_providers(case := Case("gist", json.dumps(gist.codebook()), files))
    assert own["manifest"]
    assert differences([case]) == []
