"""`fraud schemas`: what the messages look like, for those who write and read them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("schemas", short_help="Write the JSON Schema of every message.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where to write them."
)
def schemas_command(out: Path) -> None:
    """Write the JSON Schema of every message: transaction, label, decision, alert, dead letter."""
    from fraud.live.schemas import message_schemas

    out.mkdir(parents=True, exist_ok=True)
    for name, schema in message_schemas().items():
        file = out / f"{name}.schema.json"
        file.write_bytes(schema)
        click.echo(file)
