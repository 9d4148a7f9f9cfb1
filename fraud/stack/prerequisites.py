"""What must be installed before the servers can run natively."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from fraud.stack.jars import StackError


@dataclass(frozen=True)
class Prerequisite:
    """A program, the Debian package that brings it, and the oldest version that works, with the reason."""

    program: str
    package: str
    version_option: str
    oldest: int
    reason: str


JAVA = Prerequisite("java", "default-jre-headless", "-version", 17, "Kafka 4 needs it")
MAVEN = Prerequisite("mvn", "maven", "--version", 3, "it copies the jars")
REDIS = Prerequisite("redis-server", "redis-server", "--version", 7, "entity windows use its functions")


def check_prerequisites(needed: list[Prerequisite]) -> None:
    """Raises `StackError` with every program that is missing or too old, and the one command that installs them."""
    problems = {wanted: problem for wanted in needed if (problem := _problem(wanted)) is not None}
    if problems:
        packages = " ".join(wanted.package for wanted in problems)
        raise StackError(f"{'; '.join(problems.values())}. Install with: apt-get install {packages}")


def _problem(wanted: Prerequisite) -> str | None:
    path = shutil.which(wanted.program)
    if path is None:
        return f"{wanted.program} is not installed ({wanted.oldest} or newer, {wanted.reason})"
    said = subprocess.run([path, wanted.version_option], capture_output=True, text=True, check=False)  # noqa: S603 all of it is ours
    found = re.search(r"(?:version \"|v=|Maven )(\d+)", said.stdout + said.stderr)
    if found is None:
        # What it says is not a version: it may not be what it is called, such as a stub that only asks to install it.
        return f"{path} does not run: {(said.stderr or said.stdout).strip().splitlines()[:1]}"
    if int(found[1]) < wanted.oldest:
        return f"{wanted.program} {wanted.oldest} or newer is needed ({wanted.reason}), {path} is {found[1]}"
    return None
