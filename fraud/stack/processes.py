"""Server processes that outlive their starter, recorded so that only what was started here is ever ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fraud.stack.jars import StackError

# Kafka writes its indexes before it ends; one killed instead takes as long again to check them at the next start.
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05
# Nothing of the caller's own, which may hold keys of the service.
_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
# Field 22 of /proc/PID/stat, counted after the name in brackets, which may hold blanks itself; see proc(5).
_STATE_FIELD, _START_FIELD = 0, 19


@dataclass
class ServerProcess:
    """The process that `record` names. A number that another program has by now is no process of ours."""

    record: Path
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _lifeline: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id; None if it has ended, or never was."""
        try:
            content = json.loads(self.record.read_text())
            pid, started = int(content["pid"]), str(content["started"])
        except (OSError, ValueError, KeyError):
            return None
        return pid if _start_time(pid) == started else None

    def start(self, command: list[str], log: Path, *, dies_with_caller: Path | None) -> None:
        """Start `command` in the folder of the record, with its output at the end of `log`. Raises `StackError`.

        With `dies_with_caller`, the death of this process is that of the server, and of this folder of its data.
        """
        self._release()
        with log.open("ab") as output:
            try:
                # A session of its own, so that Ctrl-C at the terminal does not reach it.
                self._child = subprocess.Popen(  # noqa: S603 all of it is ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.record.parent,
                    env=_ENVIRONMENT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{command[0]} cannot be started: {error.strerror}") from None
        pid = self._child.pid
        self.record.write_text(json.dumps({"pid": pid, "started": _start_time(pid)}))
        if dies_with_caller is not None:
            # The caller holds the other end of its input, which closes with the caller, however that ends.
            self._lifeline = subprocess.Popen(  # noqa: S603 all of it is ours
                ["/bin/sh", "-c", 'cat; kill -KILL "$0"; rm -rf "$1"', str(pid), str(dies_with_caller)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                start_new_session=True,
            )

    def stop(self, ending: signal.Signals = signal.SIGTERM) -> bool:
        """End it and wait until it has ended; whether it was there. Raises `StackError` if it does not end."""
        pid = self.pid
        if pid is None:
            self._release()
            return False
        # It may end by itself at this moment.
        with suppress(ProcessLookupError):
            os.kill(pid, ending)
            # One that was stopped by a signal takes others only once it goes on.
            os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.pid == pid:
            if time.monotonic() > deadline:
                if ending is signal.SIGKILL:
                    raise StackError(f"process {pid} does not end, even killed")
                return self.stop(signal.SIGKILL)
            time.sleep(_POLL_S)
        self._release()
        return True

    def _release(self) -> None:
        """Let go of what a process that has ended leaves behind."""
        if self._lifeline is not None:
            self._lifeline.kill()
            self._lifeline.communicate()
        if self._child is not None:
            # Until it is waited for, its number stays taken.
            self._child.wait()
        self._lifeline = self._child = None
        self.record.unlink(missing_ok=True)


def _start_time(pid: int) -> str | None:
    """When process `pid` started, in words that compare; None if there is none, or it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self").exists() else _start_time_by_ps(pid)
    return None if fields[_STATE_FIELD] in "ZX" else fields[_START_FIELD]


def _start_time_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 all of it is ours
    return said.stdout.strip() or None
