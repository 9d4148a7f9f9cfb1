"""Options mean the same in every command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from fraud.cli import _add_commands, cli
from training.cli import main as fraud_train


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def label_times() -> list[tuple[str, click.Parameter]]:
    _add_commands()
    found = []
    for group, name in ((cli, "fraud"), (fraud_train, "fraud-train")):
        for path, command in commands(group, (name,)):
            found += [
                (" ".join((*path, option)), parameter)
                for parameter in command.params
                for option in parameter.opts
                if option in {"--label-delay-days", "--maturity-days", "--removed-days"}
            ]
    return found


LABEL_TIMES = label_times()


def test_labels_take_time_in_commands_of_both_programs():
    assert {name.split()[0] for name, _ in LABEL_TIMES} == {"fraud", "fraud-train"}


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e300", "soon"])
@pytest.mark.parametrize(("name", "parameter"), LABEL_TIMES, ids=[name for name, _ in LABEL_TIMES])
def test_days_that_cannot_be_are_refused_by_every_command(name, parameter, text):
    with pytest.raises(click.BadParameter):
        parameter.type.convert(text, parameter, None)
