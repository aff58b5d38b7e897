"""What must hold of the tree itself: layout, imports, forbidden calls, dependencies, documents."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["mpcnode", "analytics", "providers", "workers", "platform/portal"]
CODE = [*PACKAGES, "tests", "samples", "benchmarks"]
TOP_LEVEL = [
    "manage.py",
    "gunicorn.conf.py",
    "Makefile",
    ".ci/run",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "Dockerfile",
    "docker-compose.yml",
    ".env.sample",
    "README.md",
    "platform/README.md",
    "docs/architecture.md",
    "docs/threat-model.md",
    "docs/known-limitations.md",
    "docs/states.md",
    "docs/decisions",
]
# Where time-outs (seconds) and paths (`/`) live; a released number passes through without arithmetic.
FLOATS_ALLOWED = re.compile(r"mpcnode/(transport/\w+|channel|handshake|store|release)\.py")


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "node_modules" not in path.parts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_platform_folder_is_never_a_package():
    assert not (ROOT / "platform/__init__.py").exists()


def test_the_standard_platform_module_wins_over_the_folder():
    code = "import platform; assert platform.system(), platform"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_everything_a_newcomer_looks_for_is_there():
    assert [path for path in TOP_LEVEL if not (ROOT / path).exists()] == []


def test_the_ci_run_is_executable_and_calls_the_two_commands():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    assert {"make lint", "make test"} <= set(lines)


def test_up_is_one_line_that_becomes_the_stack():
    lines = (ROOT / "Makefile").read_text().split("\nup:")[1].split("\n\n")[0].splitlines()[1:]
    assert lines == ["\t@exec .venv/bin/python manage.py up"]


def test_a_module_is_at_most_600_lines():
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*CODE)}
    assert {name: lines for name, lines in sizes.items() if lines > 600} == {}


def test_every_module_with_code_says_what_it_is():
    silent = [
        name_of(path)
        for path in modules(*PACKAGES)
        if "migrations" not in path.parts
        and (tree := tree_of(path)).body
        and len(path.read_text().splitlines()) > 15
        and not ast.get_docstring(tree)
    ]
    assert silent == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    assert [
        name_of(p) for p in modules(*CODE) if p.stem in {"utils", "util", "helpers", "misc", "common"}
    ] == []


def test_nothing_is_left_unfinished():
    # Put together here, so that this file does not match itself.
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X:", "NotImplemented" + "Error"]))
    assert [name_of(p) for p in modules(*CODE) if marks.search(p.read_text(encoding="utf-8"))] == []


def test_only_allowed_packages_import_each_other():
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}"}
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("django", ["platform/portal/"]),
        ("rest_framework", ["platform/portal/"]),
        ("celery", ["workers/", "platform/portal/dispatch.py", "platform/portal/queue.py"]),
        ("pandas", ["providers/"]),
        ("redis", ["mpcnode/transport/redis.py", "workers/", "platform/portal/"]),
        ("scipy", ["analytics/statistics/", "analytics/reference.py"]),
        ("lark", ["analytics/query/"]),
        ("prometheus_client", ["platform/portal/metrics.py", "workers/exporter.py"]),
    ],
)
def test_a_library_stays_where_it_belongs(library, homes):
    strays = [
        name_of(path)
        for path in modules(*PACKAGES)
        if not name_of(path).startswith(tuple(homes))
        and any(name.split(".")[0] == library for name in imported(tree_of(path)))
    ]
    assert strays == []


def test_no_text_or_bytes_become_code():
    found = []
    for path in modules(*PACKAGES, "samples"):
        tree = tree_of(path)
        forbidden = {"eval", "exec", "__import__", "yaml.load", "os.system"} & set(called(tree))
        forbidden |= {"pickle", "dill", "marshal", "shelve"} & {name.split(".")[0] for name in imported(tree)}
        found += [f"{name_of(path)}: {name}" for name in sorted(forbidden)]
    assert found == []


def test_no_secret_comes_from_a_generator_that_can_be_guessed():
    found = []
    for path in modules("mpcnode", "analytics/privacy", "workers", "providers"):
        tree = tree_of(path)
        guessable = ["import random"] if "random" in {name.split(".")[0] for name in imported(tree)} else []
        guessable += [call for call in called(tree) if ".random." in call or call.endswith("default_rng")]
        found += [f"{name_of(path)}: {call}" for call in guessable]
    assert found == []


def floats(tree: ast.Module) -> Iterator[ast.expr | ast.AugAssign]:
    for node in ast.walk(tree):
        if (
            (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
            or (isinstance(node, ast.Attribute) and node.attr.startswith("float"))
            or (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in {"float", "np.true_divide", "np.sqrt"}
            )
        ):
            yield node


def test_no_float_reaches_a_released_number():
    found = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in modules("mpcnode")
        if not FLOATS_ALLOWED.fullmatch(name_of(path))
        for node in floats(tree_of(path))
    ]
    assert found == []


@pytest.mark.parametrize("text", ["x = 0.5", "x = a / b", "x = np.float64(3)", "x = float(y)", "x /= 2"])
def test_the_search_for_floats_finds_one(text):
    assert list(floats(ast.parse(text)))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_and_says_what_it_is_for(name):
    for line in (ROOT / name).read_text().splitlines():
        if line.strip() and not line.startswith(("#", "-r ")):
            requirement, _, reason = line.partition("#")
            assert "==" in requirement, f"{name}: {line}"
            assert len(reason.split()) >= 2, f"{name}: {line}"


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_shows_the_two_commands(command):
    assert re.search(rf"^\s*{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_readme_says_plainly_that_two_parties_together_read_everything():
    assert re.search(r"any two (of them |parties )?together", (ROOT / "README.md").read_text(), re.IGNORECASE)


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "samples/README.md"]


def links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]


def leads_somewhere(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    place = (path.parent / file).resolve() if file else path
    return place.exists() and (not anchor or anchor in anchors(place))


def test_every_link_of_a_document_leads_somewhere():
    dead = [
        (name_of(path), link)
        for path in documents()
        for link in links(path)
        if not leads_somewhere(path, link)
    ]
    assert dead == []


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}


def test_a_path_named_in_a_document_exists():
    ours = r"`((?:mpcnode|analytics|providers|workers|platform|samples|tests|docs)/[\w./-]+)`"
    named = [(name_of(path), name) for path in documents() for name in re.findall(ours, path.read_text())]
    assert [(path, name) for path, name in named if not (ROOT / name).exists()] == []
