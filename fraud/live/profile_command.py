"""`fraud profile USER`: what the service knows of a customer."""

from __future__ import annotations

import asyncio
import sys

import click

from fraud.settings_command import command_settings

EXIT_USAGE = 2


@click.command("profile", short_help="Show what the service knows of a customer.")
@click.argument("user_id", metavar="USER")
@click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="Transactions to show.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as one line of JSON.")
def profile_command(*, user_id: str, last: int, as_json: bool) -> None:
    """What the service knows of a customer: profile, habits, the last transactions and their decisions.

    USER is as in the messages; cards and addresses are shown as the tokens that are all that is kept of them.
    """
    import msgspec
    from botocore.exceptions import BotoCoreError, ClientError

    from fraud.bootstrap import load_artefacts, token_maker
    from fraud.live.dynamodb_client import dynamodb_failure
    from fraud.live.profile import known_customer, profile_text
    from fraud.ports import StoreUnavailableError
    from fraud.privacy import RotatingTokeniser

    settings = command_settings()
    artefacts = load_artefacts(settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=None)
    known_as = [user_id]
    if "user_id" in settings.tokenised_fields:
        tokeniser = token_maker(settings)
        known_as = [tokeniser.token("user_id", user_id)]
        if isinstance(tokeniser, RotatingTokeniser):
            known_as += tokeniser.former.values()
    customer = None
    try:
        for name in known_as:
            customer = customer or asyncio.run(known_customer(settings, artefacts, name, last))
    except (StoreUnavailableError, BotoCoreError, ClientError) as error:
        _give_up(f"{dynamodb_failure(settings, error)}; does it run, and was `fraud init` run?")
        return
    if customer is None:
        _give_up(f"{user_id}: no such customer in {settings.table_prefix}UserProfiles or its history")
        return
    click.echo(msgspec.json.encode(customer).decode() if as_json else profile_text(customer))


def _give_up(message: str) -> None:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
