"""`python retraining_killed.py MODELS ARGUMENTS...`: retrains again and again, each run killed one step later.

Each run has a copy of the registry MODELS of its own, and dies by SIGKILL right before its n-th change of a file there,
counted by the interpreter; then it is run again to its end. Prints a JSON line for each: whether the first run came to
its end, and what stands after the second.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from fraud.scoring.registry import read_registry
from training.cli import main

_CHANGES = {"os.mkdir", "os.rename", "os.rmdir"}


def _dies_before(change: int, models: Path) -> None:
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        opens = event == "open" and str(models) in str(arguments[0]) and "w" in str(arguments[1] or "")
        if opens or (event in _CHANGES and any(str(models) in str(one) for one in arguments)):
            seen += 1
            if seen > change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _run(models: Path, arguments: list[str], change: int | None) -> int:
    """The exit code of a run in a process of its own, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    if change is not None:
        _dies_before(change, models)
    main(["retrain", *arguments, "--models", str(models)])
    os._exit(0)


def _standing(models: Path) -> dict[str, Any]:
    (folder,) = (path for path in models.iterdir() if path.name.startswith("retrained-"))
    evaluations = list(folder.glob("evaluation-*.json"))
    change = read_registry(models).standing[folder.name]
    return {
        "model": folder.name,
        "content_hash": change.content_hash,
        "state": change.state,
        "changes": len(read_registry(models).changes),
        "evaluations": len(evaluations),
        "rests_on_it": evaluations[0].name.startswith(f"evaluation-{(change.evaluation_hash or '')[:16]}"),
        "has_card": (folder / "model_card.md").exists(),
    }


if __name__ == "__main__":
    original, arguments = Path(sys.argv[1]), sys.argv[2:]
    # Once here: every module is there for the runs to come.
    whole = original.with_name("whole")
    shutil.copytree(original, whole)
    with redirect_stdout(StringIO()):
        main(["retrain", *arguments, "--models", str(whole)], standalone_mode=False)
    for number in itertools.count():
        models = original.with_name(f"killed-{number}")
        shutil.copytree(original, models)
        code = _run(models, arguments, number)
        read_registry(models)
        again = _run(models, arguments, None)
        print(json.dumps({"first": code, "again": again, **_standing(models)}), flush=True)
        if code != -signal.SIGKILL:
            break
