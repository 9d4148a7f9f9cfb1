"""A model's folder and the registry show the old content or the new, wherever a writer is killed."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Dies by SIGKILL right before its n-th event on the file system, counted by the interpreter itself.
KILLED = """
import os, signal, sys
from pathlib import Path
from training.folder import replace_file, write_folder

place, kind, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0

def count(event, arguments):
    global seen
    if event in {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "ctypes.dlsym", "shutil.rmtree"}:
        seen += 1
        if seen > last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
if kind == "folder":
    write_folder(place, {"one": b"new", "two": b"new"})
else:
    replace_file(place, b"new")
"""


def _ended_after(events: int, place: Path, kind: str) -> bool:
    finished = subprocess.run([sys.executable, "-c", KILLED, place, kind, str(events)], check=False)
    assert finished.returncode in {0, -9}
    return finished.returncode == 0


def _content(place: Path) -> set[bytes]:
    files = [place] if place.is_file() else [place / "one", place / "two"]
    return {file.read_bytes() for file in files}


def _kills(place: Path, kind: str) -> Iterator[int]:
    """Each place of a kill, until the writer gets through."""
    for events in itertools.count():
        yield events
        if _ended_after(events, place, kind):
            return


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_leaves_the_old_content_or_the_new(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "model"
    if kind == "file":
        place.write_bytes(b"old")
    else:
        place.mkdir()
        for name in ("one", "two"):
            (place / name).write_bytes(b"old")
    found = [_content(place) for _ in _kills(place, kind)] + [_content(place)]
    assert set(map(frozenset, found)) <= {frozenset({b"old"}), frozenset({b"new"})}
    assert found[0] == {b"old"}
    assert found[-1] == {b"new"}
    assert len(found) > 4
