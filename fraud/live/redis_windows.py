"""Entity windows in the Redis that the settings name."""

from __future__ import annotations

from fraud.certificates import TlsFiles
from fraud.features.plan import StatePlan
from fraud.settings import Settings
from fraud.stores.entity_windows.windows import EntityWindows


def entity_windows(settings: Settings, plan: StatePlan, *, deadline_ms: float | None = None) -> EntityWindows:
    """Not connected yet. `deadline_ms` replaces that of the settings."""
    return EntityWindows(
        settings.redis_url,
        plan,
        prefix=settings.table_prefix,
        deadline_ms=settings.redis_deadline_ms if deadline_ms is None else deadline_ms,
        tls=TlsFiles(
            "FRAUD_REDIS",
            settings.redis_ssl_ca_file,
            settings.redis_ssl_certificate_file,
            settings.redis_ssl_key_file,
        ),
    )
