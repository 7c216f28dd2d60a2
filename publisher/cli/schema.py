"""``publisher schema``: prints the config file's JSON Schema, with which editors complete and check it."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the config file's JSON Schema, for editors.

    \b
    Save it beside the config file, then name it there:
      publisher schema > publisher.schema.json
      YAML, first line:  # yaml-language-server: $schema=./publisher.schema.json
      JSON, a field:     "$schema": "./publisher.schema.json"
    """
    from publisher.config.json_schema import schema_text

    click.echo(schema_text(), nl=False)
