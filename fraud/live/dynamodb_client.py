"""The client of DynamoDB that settings describe."""

from __future__ import annotations

from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from fraud.settings import Settings

# A call that takes longer is given up and tried again: DynamoDB answers within tens of milliseconds or not at all.
_DYNAMODB_TIMEOUT_S = 5
_DYNAMODB_CONNECTIONS = 32
_DYNAMODB_ATTEMPTS = 2


# Identifiers hold no control characters, so no customer has this name.
NOBODY = "\x01nobody"


class TablesUnreachableError(Exception):
    """DynamoDB that is not there, lets nobody in or has no tables: one line for people."""


async def check_tables(settings: Settings) -> None:
    """Read from the tables once. Raises `TablesUnreachableError`."""
    try:
        async with dynamodb_client(settings) as client:
            await client.get_item(TableName=f"{settings.table_prefix}UserProfiles", Key={"user_id": {"S": NOBODY}})
    except (BotoCoreError, ClientError, OSError) as error:
        hint = "; make the tables: fraud init" if "ResourceNotFoundException" in str(error) else ""
        raise TablesUnreachableError(f"{dynamodb_failure(settings, error)}{hint}") from error


def dynamodb_failure(settings: Settings, error: Exception) -> str:
    """What DynamoDB, or its client, says, and where it was asked."""
    place = settings.dynamodb_endpoint_url or f"AWS, region {settings.aws_region}"
    return f"DynamoDB at {place} (FRAUD_DYNAMODB_ENDPOINT_URL): {error}"


def dynamodb_client(settings: Settings) -> Any:
    """An aiobotocore client, as a context. Credentials come by the usual chain; DynamoDB Local takes any."""
    config = AioConfig(
        connect_timeout=_DYNAMODB_TIMEOUT_S,
        read_timeout=_DYNAMODB_TIMEOUT_S,
        max_pool_connections=_DYNAMODB_CONNECTIONS,
        retries={"mode": "standard", "max_attempts": _DYNAMODB_ATTEMPTS},
        # The service checks what it is sent; checking it here as well costs a tenth of a batch.
        parameter_validation=False,
        # Otherwise it is put together anew for each request, from all that is known of this machine: a seventh of what
        # a request costs here.
        user_agent="fraud",
    )
    local = {}
    if settings.dynamodb_endpoint_url is not None and settings.dynamodb_endpoint_url.startswith("http://"):
        # Anything goes without TLS only on this machine.
        local = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return get_session().create_client(
        "dynamodb",
        region_name=settings.aws_region,
        endpoint_url=settings.dynamodb_endpoint_url,
        config=config,
        **local,
    )
