"""What every test gets: no model hub, no settings of the person who runs it, and a home of its own."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

from vector_assets.settings import PREFIX, Settings

pytest_plugins = ["vector_assets_tests.live.fixtures"]

OTHER_SETTINGS = ("DAGSTER_HOME", "MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def _environment_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith((PREFIX, "WEAVIATE_")) or name in OTHER_SETTINGS]:
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings whose every place is below tmp_path, with a secret as `init` makes it; sources.yaml is the test's to write."""
    settings = Settings(home=tmp_path / "home", sources=tmp_path / "sources.yaml")
    settings.home.mkdir()
    (settings.home / "secret").write_text("a secret for tests, 32 bytes long")
    return settings
