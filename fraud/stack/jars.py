"""The jars of Kafka and DynamoDB Local, at the versions that the POM files pin, copied once by Maven into a folder."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
JARS = PACKAGE.parent.parent / "build" / "stack" / "jars"
# Eighty small files from a slow mirror; a Maven that hangs would hang whoever waits for it.
_MAVEN_TIMEOUT_S = 1_200


class StackError(Exception):
    """A local server that cannot be started, or is not as it should be: one line for people."""


def pinned_version(server: str) -> str:
    """The version of `kafka` or `dynamodb` that its POM file pins."""
    versions = re.findall(r"<version>([\w.]+)</version>", (PACKAGE / f"{server}.pom.xml").read_text())
    return str(versions[0])


def jar_folder(server: str, jars: Path) -> Path:
    """Where below `jars` the jars of `kafka` or `dynamodb` are, or would be."""
    return jars / f"{server}-{pinned_version(server)}"


def copy_jars(server: str, jars: Path) -> Path:
    """The folder of the jars of `kafka` or `dynamodb`, which Maven fills if it is not there. Raises `StackError`."""
    folder = jar_folder(server, jars)
    jars.mkdir(parents=True, exist_ok=True)
    with exclusive(jars / ".lock"):
        if folder.is_dir():
            return folder
        unfinished = jars / f".{folder.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        _run_maven(PACKAGE / f"{server}.pom.xml", unfinished)
        # Only a complete folder ever has the name.
        unfinished.rename(folder)
    return folder


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keep other processes out while the block runs."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run_maven(pom: Path, folder: Path) -> None:
    # -C: a jar whose checksum is wrong is refused instead of used.
    command = ["mvn", "-B", "-q", "-C", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, check=False)  # noqa: S603 all of it is ours
    except FileNotFoundError:
        raise StackError("Maven is needed once, to copy the jars: apt-get install maven") from None
    except subprocess.TimeoutExpired:
        raise StackError(f"Maven did not copy the jars of {pom.name} within {_MAVEN_TIMEOUT_S} seconds") from None
    if finished.returncode:
        problems = re.findall(r"\[ERROR\] (.+)", finished.stdout + finished.stderr) or [finished.stderr.strip()]
        raise StackError(f"Maven could not copy the jars that {pom} names: {problems[0]}")
