from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vector_assets.defs.instance import CONFIG, open_instance, prepare_home
from vector_assets.errors import ConfigurationError, StorageError
from vector_assets.settings import Settings

ROOT = Path(__file__).parents[2]


def installed(settings: Settings) -> Path:
    assert settings.dagster_home is not None
    return settings.dagster_home / "dagster.yaml"


def test_the_file_at_the_top_is_the_packaged_one() -> None:
    assert (ROOT / "dagster.yaml").read_bytes() == CONFIG.read_bytes()


def test_the_home_is_made_with_this_projects_configuration(home: Settings) -> None:
    assert prepare_home(home) is None
    assert installed(home).read_bytes() == CONFIG.read_bytes()
    assert prepare_home(home) is None


def test_another_configuration_is_kept_and_reported(home: Settings) -> None:
    prepare_home(home)
    installed(home).write_text("telemetry: {enabled: false}\n")
    assert "is kept" in (prepare_home(home) or "")
    assert installed(home).read_text() == "telemetry: {enabled: false}\n"


def test_a_home_that_cannot_be_made_says_so(home: Settings) -> None:
    assert home.dagster_home is not None
    home.dagster_home.write_text("a file")
    with pytest.raises(StorageError, match="set DAGSTER_HOME"):
        prepare_home(home)


def test_the_instance_follows_the_configuration(home: Settings) -> None:
    with open_instance(home) as instance:
        assert instance.is_persistent
        assert instance.root_directory == str(home.dagster_home)
        assert not instance.telemetry_enabled
        assert not instance.managed_python_loggers
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 2)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        concurrency = instance.get_concurrency_config()
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 2
        assert concurrency.pool_config.default_pool_limit is None


def test_a_broken_configuration_says_so(home: Settings) -> None:
    prepare_home(home)
    installed(home).write_text("telemetri: {enabled: false}\n")
    with pytest.raises(ConfigurationError, match=r"dagster\.yaml"):
        open_instance(home)


def test_make_dev_learns_the_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vector_assets.defs.instance"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.stdout, done.stderr) == (f"{tmp_path}/.vector_assets/dagster\n", "")
    assert (tmp_path / ".vector_assets/dagster/dagster.yaml").exists()
