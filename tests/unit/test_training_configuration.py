"""A configuration is a YAML file or a Python file, and a wrong one is refused by file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.configuration import BoostingConfiguration, ConfigurationError, FitConfiguration, load_configuration

YAML = "estimator: {kind: boosting, tree_count: 7}\nlegitimate_share: 0.5\n"
PYTHON = """
from training.configuration import BoostingConfiguration, FitConfiguration

TREES = 3 + 4
configuration = FitConfiguration(BoostingConfiguration(tree_count=TREES), legitimate_share=0.5)
"""

SEARCHING = """
from training.configuration import FitConfiguration, SearchConfiguration

configuration = FitConfiguration(search=SearchConfiguration({"trees": (1,)}))
"""


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_yaml_and_python_say_the_same(tmp_path: Path) -> None:
    expected = FitConfiguration(BoostingConfiguration(tree_count=7), name="mine", legitimate_share=0.5)
    assert load_configuration(written(tmp_path, "mine.yaml", YAML)) == expected
    assert load_configuration(written(tmp_path, "mine.py", PYTHON)) == expected


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.yaml", "estimator: {kind: boosting, trees: 7}\n", "unknown field `trees` - at `$.estimator`"),
        ("c.yaml", "legitimate_share: 2\n", "legitimate_share is above 0 and at most 1, it is 2.0"),
        ("c.yaml", "search: {choices: {trees: [1]}}\n", "search.choices.trees: the estimator has no such setting"),
        ("c.yaml", "search: {choices: {tree_count: [many]}}\n", "search.choices: Expected `int`, got `str`"),
        ("c.yaml", "a: [", "cannot be read"),
        ("c.py", "configuration = 1\n", "not to 1"),
        ("c.py", "settings = 1\n", "must set `configuration`"),
        ("c.py", "1 / 0\n", "ZeroDivisionError: division by zero"),
        ("c.py", "def (\n", "SyntaxError"),
        ("c.py", PYTHON.replace("share=0.5", "share=5"), "legitimate_share is above 0 and at most 1, it is 5"),
        (
            "c.py",
            SEARCHING,
            "search.choices.trees: the estimator has no such setting",
        ),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_refused_by_file_and_field(tmp_path: Path, name: str, content: str, told: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(ConfigurationError) as error:
        load_configuration(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("none.yaml", "none.py"):
        with pytest.raises(ConfigurationError, match=r"none\.(yaml|py)"):
            load_configuration(tmp_path / name)
