"""`fraud-train models`: the registry, and every change of who decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from training.commands.options import now_text, refusals_for_people

if TYPE_CHECKING:
    from fraud.scoring.registry import Registry
    from training.registry import Author, Subject

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def models() -> None:
    """The models of a registry and their states."""


def registry_option(command: Command) -> Command:
    """--models: the folder of the registry."""
    option = click.option(
        "--models", "folder", type=click.Path(path_type=Path), help="Folder of the registry; that of the settings."
    )
    return option(command)


def author_options(command: Command) -> Command:
    """--who and --why, which every change is recorded with."""
    for option in (
        click.option("--who", metavar="NAME", help="Who does it; the user of this machine."),
        click.option("--why", required=True, metavar="TEXT", help="Why, for whoever reads the registry later."),
    ):
        command = option(command)
    return command


def chosen_registry(folder: Path | None) -> Path:
    """The registry's folder. Raises `RegistryError` where there is none."""
    from fraud.scoring.registry import registry_folder
    from fraud.settings import load_settings
    from training.registry import RegistryError

    if folder is None:
        model_folder = load_settings().model_folder
        if model_folder is None:
            raise RegistryError("the settings name no model folder: say where the registry is with --models DIR")
        folder = registry_folder(model_folder)
    if not folder.is_dir():
        raise RegistryError(f"{folder} is no folder: a registry is the folder that holds the models' folders")
    return folder


def author(who: str | None, why: str) -> Author:
    """Who changes the registry now."""
    from getpass import getuser

    from training.registry import Author

    return Author(getuser() if who is None else who, now_text(), why)


def subject_of(folder: Path, name: str) -> Subject:
    """The model as it lies on disk. Raises `ModelRefusedError`."""
    from fraud.scoring.model import read_manifest
    from fraud.scoring.registry import check_model_name
    from training.registry import Subject

    check_model_name(name, str(folder))
    return Subject(name, read_manifest(folder / name).content_hash)


@models.command("list")
@registry_option
def list_models(*, folder: Path | None) -> None:
    """Every model of the registry with its state and since when."""
    with refusals_for_people():
        click.echo(registry_table(chosen_registry(folder)))


def registry_table(folder: Path) -> str:
    """The models under a registry, for a terminal. Raises `ModelRefusedError`."""
    from fraud.scoring.model import MANIFEST_FILE
    from fraud.scoring.registry import FIRST_CHAMPION, read_registry

    registry = read_registry(folder)
    names = {path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST_FILE}")} | registry.standing.keys()
    lines = [f"{'model':32}{'state':12}{'since':28}who"]
    for name in sorted(names):
        change = registry.standing.get(name)
        if change is not None:
            lines.append(f"{name:32}{change.state:12}{change.when:28}{change.who}")
        elif name == FIRST_CHAMPION and registry.champion is None:
            lines.append(f"{name:32}{'champion':12}{'nothing was promoted yet':28}-")
        else:
            lines.append(f"{name:32}{'candidate':12}{'-':28}-")
    return "\n".join(lines)


@models.command()
@click.argument("name")
@registry_option
def show(*, name: str, folder: Path | None) -> None:
    """The card of a model, if it was compared, and every change of it."""
    from fraud.scoring.model import read_manifest
    from fraud.scoring.registry import check_model_name, read_registry
    from training.commands.fit import metrics_table

    with refusals_for_people():
        registry_path = chosen_registry(folder)
        check_model_name(name, str(registry_path))
        manifest = read_manifest(registry_path / name)
        changes = [change for change in read_registry(registry_path).changes if change.model == name]
        card = registry_path / name / "model_card.md"
        told = card.read_text(encoding="utf-8") if card.exists() else metrics_table(manifest, registry_path / name)
    click.echo(told)
    for change in changes:
        rests = "" if change.evaluation_hash is None else f", by the evaluation {change.evaluation_hash[:16]}"
        click.echo(f"{change.when}  {change.state} ({change.step}) by {change.who}: {change.why}{rests}")


def _change(folder: Path | None, step: Callable[[Registry], Registry]) -> Registry:
    from training.registry_file import change_registry

    return change_registry(chosen_registry(folder), step)


@models.command()
@click.argument("name")
@author_options
@registry_option
def shadow(*, name: str, folder: Path | None, who: str | None, why: str) -> None:
    """Let a model score beside the champion; it decides nothing."""
    from training.registry import shadowed

    with refusals_for_people():
        subject = subject_of(chosen_registry(folder), name)
        _change(folder, lambda registry: shadowed(registry, subject, author(who, why)))
    click.echo(f"{name} scores in shadow")


@models.command()
@click.argument("name")
@author_options
@registry_option
def archive(*, name: str, folder: Path | None, who: str | None, why: str) -> None:
    """Put a model away; its files stay."""
    from training.registry import archived

    with refusals_for_people():
        subject = subject_of(chosen_registry(folder), name)
        _change(folder, lambda registry: archived(registry, subject, author(who, why)))
    click.echo(f"{name} is archived")


@models.command()
@author_options
@registry_option
def rollback(*, folder: Path | None, who: str | None, why: str) -> None:
    """Let the champion before the present one decide again. Workers follow within seconds."""
    from training.registry import rolled_back

    def step(registry: Registry) -> Registry:
        after = rolled_back(registry, author(who, why))
        check_usable(chosen_registry(folder), after)
        return after

    with refusals_for_people():
        champion = _change(folder, step).champion
    click.echo(f"{champion.model if champion else 'nothing'} decides again")


def check_usable(folder: Path, registry: Registry) -> None:
    """Do with the champion of `registry` what a worker does before it decides by it. Raises `ModelRefusedError`."""
    import asyncio
    from dataclasses import replace

    from fraud.bootstrap import load_artefacts
    from fraud.live.reload import check_artefacts
    from fraud.scoring.registry import load_registered
    from fraud.settings import load_settings

    settings = load_settings()
    artefacts = load_artefacts(settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=None)
    assert registry.champion is not None  # noqa: S101 the step made one
    features = artefacts.feature_set
    model = load_registered(folder, registry.champion, features.name, features.schema_hash)
    asyncio.run(check_artefacts(settings, replace(artefacts, model=model)))
