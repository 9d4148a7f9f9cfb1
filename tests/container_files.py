"""The container files as the tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def compose() -> dict[str, Any]:
    """docker-compose.yml, its anchors resolved."""
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(content, dict)
    return content


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, such as `RUN` and what follows it, and the number of its stage."""

    name: str
    text: str
    stage: int


def dockerfile() -> list[Instruction]:
    """The instructions of the Dockerfile, in order; continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    instructions: list[Instruction] = []
    stage = -1
    for line in filter(None, joined.splitlines()):
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        instructions.append(Instruction(name, text, stage))
    return instructions


def locked(file: str) -> dict[str, set[str]]:
    """`name==version` of each package of a lock file, with its hashes."""
    packages: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / file).read_text().strip()):
        packages.setdefault(block.split()[0], set()).update(re.findall(r"sha256:[0-9a-f]{64}", block))
    return packages
