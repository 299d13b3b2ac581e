"""`vector-assets init`: what a new project needs, made where it is missing."""

from __future__ import annotations

import typer

from vector_assets.cli.console import note
from vector_assets.cli.session import opened


def init(context: typer.Context) -> None:
    """Write a commented sources.yaml, make a local secret, and let the packaged model serve. What is there stays as it is."""
    from vector_assets import initial

    with opened(context) as pipeline:
        settings = pipeline.settings
        initial.make_home(settings.home)
        if initial.make_sources(settings.sources):
            note(f"wrote {settings.sources}: say there what to sync")
        else:
            note(f"{settings.sources} is there already and stays as it is")
        secret = initial.make_secret(settings)
        note(f"made {secret}, the key of pseudonyms: keep it, another one changes every hashed value" if secret else "the secret stays")
        model = initial.make_champion(pipeline.engines.registry())
        note(f"{model.description or 'the packaged model'} serves now" if model else "the registered models stay as they are")
    note("next: vector-assets doctor")
