"""The code keeps the shape that a newcomer relies on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted([*ROOT.glob("fraud/**/*.py"), *ROOT.glob("training/**/*.py")])
ALL_PYTHON = sorted([*PRODUCT, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
FILE_MAX_LINES = 500
FUNCTION_MAX_LINES = 70
NAMES_THAT_EXPLAIN_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ALL_PYTHON, ids=_name)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_MAX_LINES


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_MAX_LINES]
    assert long == []


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_a_file_is_found_by_its_name(path: Path) -> None:
    assert path.stem not in NAMES_THAT_EXPLAIN_NOTHING


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_no_function_passes_keywords_through_unseen(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    # `**_` drops them, as what botocore calls back has to.
    assert [node.name for node in functions if node.args.kwarg is not None and node.args.kwarg.arg != "_"] == []


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if _name(path) != "fraud/settings.py":
        assert not re.search(r"os\.environ|os\.getenv", path.read_text())


def test_every_module_is_used() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in PRODUCT if path.stem != "__init__"}
    text = "\n".join(path.read_text() for path in ALL_PYTHON) + (ROOT / "pyproject.toml").read_text()
    unused = {
        module
        for module in modules
        if module not in text and f"from {module.rpartition('.')[0]} import {module.rpartition('.')[2]}" not in text
    }
    # The feature sets import their modules by name from the package.
    assert {module for module in unused if not module.startswith("fraud.features.")} == set()


def test_the_lock_pins_by_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^[a-z0-9][\w.-]*==", lock, re.MULTILINE)
    assert len(packages) > 20
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "://" not in lock


def test_the_two_sets_of_actions_are_one() -> None:
    from fraud import decision
    from fraud.rules import values

    assert decision.ACTIONS is values.ACTIONS
