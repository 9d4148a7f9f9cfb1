"""`fraud settings`, and the settings of any other command."""

from __future__ import annotations

from pathlib import Path

import click

from fraud.settings import Settings, load_settings, names_settings_file, setting_lines


def command_settings(usual_file: Path | None = None) -> Settings:
    """The settings of the running command: environment, then the file named by `--settings` or the environment, or
    `usual_file` where none is named. Raises `SettingsError`.
    """
    return load_settings(file=_file() if has_settings_file() else usual_file)


def has_settings_file() -> bool:
    """Whether the command line or the environment names a settings file."""
    return _file() is not None or names_settings_file()


@click.command("settings", short_help="Show every setting, where it came from, what it means.")
def settings_command() -> None:
    """Show every setting: its value (secrets masked), where that came from, and what it means."""
    lines = setting_lines(file=_file())
    name_width = max(len(line.name) for line in lines)
    shown_width = max(len(line.shown) for line in lines)
    for line in lines:
        origin = "" if line.origin == "default" else f"  [{line.origin}]"
        click.echo(f"{line.name:<{name_width}}  {line.shown:<{shown_width}}  {line.meaning}{origin}")


def _file() -> Path | None:
    context = click.get_current_context(silent=True)
    file = context.find_root().params.get("settings_file") if context is not None else None
    return file if isinstance(file, Path) else None
