"""The `fraud` command as tests run it: in this process, or as one of its own."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from fraud.cli import main

PROGRAM = (sys.executable, "-c", "from fraud.cli import main; main()")


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it said."""

    exit_code: int
    stdout: str
    stderr: str


def run_here(*arguments: str | Path) -> Finished:
    """The command in this process: a start of the interpreter costs more than most of the replays here."""
    stdout, stderr = io.StringIO(), io.StringIO()
    exit_code = 0
    with (
        mock.patch.object(sys, "argv", ["fraud", *map(str, arguments)]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as exit_:
            exit_code = int(exit_.code or 0)
    return Finished(exit_code, stdout.getvalue(), stderr.getvalue())


def run_apart(*arguments: str | Path, **environment: str) -> Finished:
    """The command as a process of its own."""
    finished = subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr)
