"""Changes of the registry as pure functions: which step is allowed, and what it makes of what stood before."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fraud.scoring.registry import FIRST_CHAMPION, Change, Registry, State, Step
from training.against_champion import AgainstChampion


class RegistryError(Exception):
    """A change of the registry that is refused; the message says why and what to do."""


class Author(NamedTuple):
    """Who changes the registry, when (RFC 3339, UTC) and why."""

    who: str
    when: str
    why: str


class Subject(NamedTuple):
    """A model: the name of its folder, its content hash, and the hash of the evaluation that a step rests on."""

    model: str
    content_hash: str
    evaluation_hash: str | None = None


def registered(registry: Registry, subject: Subject, author: Author) -> Registry:
    """The model is a candidate; one that stands so already is not entered again. Raises `RegistryError`."""
    return _changed(registry, _change(subject, "candidate", "register", author))


def shadowed(registry: Registry, subject: Subject, author: Author) -> Registry:
    """The model scores beside the champion; one that does already is not entered again. Raises `RegistryError`."""
    return _changed(registry, _change(subject, "shadow", "shadow", author))


def archived(registry: Registry, subject: Subject, author: Author) -> Registry:
    """The model is put away. Raises `RegistryError` for the champion."""
    return _changed(registry, _change(subject, "archived", "archive", author))


def promoted(registry: Registry, subject: Subject, first: Subject | None, author: Author) -> Registry:
    """The model decides from now on, and the champion before it is archived.

    `first`: what decides while no champion is registered. Raises `RegistryError` without an evaluation, and for the
    model that decides already.
    """
    if subject.evaluation_hash is None:
        raise RegistryError(
            f"{subject.model} has no evaluation against the champion. Make one: "
            f"fraud-train models compare {subject.model} FILE... --from TIME --to TIME"
        )
    before = registry
    if registry.champion is None and first is not None:
        reason = Author(author.who, author.when, "decided before anything was promoted")
        before = msgspec.structs.replace(
            registry, changes=(*registry.changes, _change(first, "champion", "register", reason))
        )
    if before.champion is not None and before.champion.model == subject.model:
        raise RegistryError(f"{subject.model} is the champion already")
    return _crowned(before, subject, "promote", author)


def refuse_outdated(evaluation: AgainstChampion, subject: Subject, champion_hash: str | None, policy_hash: str) -> None:
    """Raise `RegistryError` unless the evaluation is of this model, this champion and this policy, and passed."""
    again = f"Compare again: fraud-train models compare {subject.model} FILE... --from TIME --to TIME"
    if evaluation.candidate.content_hash != subject.content_hash:
        raise RegistryError(f"the newest evaluation of {subject.model} is of other content. {again}")
    if evaluation.champion.content_hash != champion_hash:
        raise RegistryError(
            f"the newest evaluation of {subject.model} is against {evaluation.champion.name} "
            f"{evaluation.champion.content_hash[:12]}, which is not the champion. {again}"
        )
    if evaluation.policy.content_hash != policy_hash:
        raise RegistryError(f"the policy was changed since the newest evaluation of {subject.model}. {again}")
    if evaluation.failed:
        told = "; ".join(f"{gate.name.replace('_', ' ')}: {gate.told}" for gate in evaluation.failed)
        raise RegistryError(f"{subject.model} has failed {len(evaluation.failed)} of its gates. {told}")


def rolled_back(registry: Registry, author: Author) -> Registry:
    """The champion before the present one decides again. Raises `RegistryError` where there was none."""
    reigns = registry.reigns
    if len(reigns) < 2:
        raise RegistryError("there is nothing to roll back to: no champion stood before the present one")
    before = reigns[-2]
    return _crowned(registry, Subject(before.model, before.content_hash, before.evaluation_hash), "rollback", author)


def _crowned(registry: Registry, subject: Subject, step: Step, author: Author) -> Registry:
    changes = list(registry.changes)
    champion = registry.champion
    if champion is not None:
        former = Subject(champion.model, champion.content_hash, champion.evaluation_hash)
        changes.append(_change(former, "archived", step, author))
    changes.append(_change(subject, "champion", step, author))
    return msgspec.structs.replace(registry, changes=tuple(changes))


def _changed(registry: Registry, change: Change) -> Registry:
    is_first = registry.champion is None and change.model == FIRST_CHAMPION
    if is_first or registry.state_of(change.model) == "champion":
        raise RegistryError(
            f"{change.model} is the champion: promote another model, or roll back, and it is archived by that"
        )
    standing = registry.standing.get(change.model)
    if standing is not None and (standing.state, standing.content_hash) == (change.state, change.content_hash):
        return registry
    return msgspec.structs.replace(registry, changes=(*registry.changes, change))


def _change(subject: Subject, state: State, step: Step, author: Author) -> Change:
    return Change(
        subject.model, subject.content_hash, state, step, author.who, author.when, author.why, subject.evaluation_hash
    )
