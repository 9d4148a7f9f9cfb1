"""The client of DynamoDB that settings describe."""

from __future__ import annotations

from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from fraud.settings import Settings

# A call that takes longer is given up and tried again: DynamoDB answers within tens of milliseconds or not at all.
_DYNAMODB_TIMEOUT_S = 5
_DYNAMODB_CONNECTIONS = 32
_DYNAMODB_ATTEMPTS = 2


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
