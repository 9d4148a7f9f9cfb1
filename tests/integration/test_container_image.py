"""The steps of the Dockerfile, run in an empty environment, give a service that starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest
from container_files import ROOT, compose, dockerfile

from fraud.stack import Stack


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for the root of the image: /packages and /app in it, and an empty Python beside."""
    root = tmp_path_factory.mktemp("image")
    venv.create(root / "python", with_pip=True)
    folder = root
    for entry in dockerfile():
        if entry.name == "FROM":
            folder = root / f"stage{entry.stage}"
            folder.mkdir()
        elif entry.name == "WORKDIR":
            folder = root / entry.text.removeprefix("/")
            folder.mkdir()
        elif entry.name == "COPY" and "--from" not in entry.text:
            *sources, target = entry.text.split()
            _copy([ROOT / source for source in sources], folder / target)
        elif entry.name == "RUN":
            script = entry.text.replace(" /packages", f" {root}/packages")
            environment = {**os.environ, "PATH": f"{root}/python/bin:{os.environ['PATH']}"}
            subprocess.run(["sh", "-ec", script], cwd=folder, env=environment, check=True)
    return root


def _copy(sources: list[Path], target: Path) -> None:
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(source, target / source.name if target.is_dir() else target)


def _run(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The entry point of the image, with the environment that the image sets and nothing else."""
    told = dict(pair.split("=") for entry in dockerfile() if entry.name == "ENV" for pair in entry.text.split())
    environment = told | {"PYTHONPATH": f"{image}/packages:{image}/app", "HOME": str(image)}
    assert told["PYTHONPATH"] == "/packages:/app"
    return subprocess.run(
        [image / "python" / "bin" / "python", *arguments],
        cwd=image / "app",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_service_starts_from_the_packages_of_the_image(image: Path) -> None:
    shown = _run(image, "-m", "fraud", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "worker" in shown.stdout
    assert _run(image, "-m", "fraud", "--settings", "local.yaml", "settings").returncode == 0


def test_every_module_finds_the_packages_it_needs(image: Path) -> None:
    names = sorted(
        ".".join(path.relative_to(image / "app").with_suffix("").parts)
        for path in (image / "app" / "fraud").rglob("*.py")
        if path.stem != "__main__"
    )
    finished = _run(image, "-c", "; ".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_image_decides_a_file_with_its_own_policy_and_model(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "transactions.jsonl"
    size = ("--days", "5", "--customers", "20", "--merchants", "100")
    assert _run(image, "-m", "fraud", "simulate", "--out", str(file), *size).returncode == 0
    replayed = _run(image, "-m", "fraud", "replay", str(file), "--out", str(tmp_path / "out"))
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert (tmp_path / "out" / "decisions.parquet").exists()


def test_nothing_of_the_developers_is_in_the_image(image: Path) -> None:
    assert not (image / "packages" / "pytest").exists()
    assert sorted(path.name for path in (image / "app").iterdir()) == [
        "LICENSE",
        "fraud",
        "local.yaml",
        "models",
        "policies",
        "rates",
    ]


def test_dynamodb_refuses_what_is_not_signed_which_is_its_sign_of_life(stack: Stack) -> None:
    assert "= 400" in compose()["services"]["dynamodb"]["healthcheck"]["test"][1]
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"http://127.0.0.1:{stack.ports.dynamodb}")
    raised.value.close()
    assert raised.value.code == 400
