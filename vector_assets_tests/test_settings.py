"""The environment: defaults below one home, misspelt names refused, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from vector_assets.errors import ConfigurationError
from vector_assets.settings import MIN_SECRET_BYTES, Settings, load_settings

SECRET = "s3cr3t-" * 4


def test_everything_local_lives_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    home = tmp_path / ".vector_assets"
    assert settings.storage == str(home / "stages")
    assert settings.private == str(home / "private")
    assert settings.index == str(home / "index")
    assert settings.dagster_home == home / "dagster"
    assert settings.mlflow_tracking_uri == f"sqlite:///{home}/mlflow.db"


def test_every_place_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {
        "VECTOR_ASSETS_STORAGE": "s3://bucket/stages",
        "VECTOR_ASSETS_PRIVATE": "s3://private/stages",
        "DAGSTER_HOME": "/dagster",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "WEAVIATE_URL": "http://weaviate",
        "VECTOR_ASSETS_DELETE_SHARE": "0.5",
    }
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.storage, settings.private) == ("s3://bucket/stages", "s3://private/stages")
    assert (settings.dagster_home, settings.mlflow_tracking_uri) == (Path("/dagster"), "http://mlflow")
    assert (settings.weaviate_url, settings.delete_share) == ("http://weaviate", 0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("VECTOR_ASSETS_STORAGEE", "did you mean VECTOR_ASSETS_STORAGE"),
        ("VECTOR_ASSETS_DELETE_SHARES", "did you mean VECTOR_ASSETS_DELETE_SHARE"),
        ("VECTOR_ASSETS_QQQQQQQQQQQQQ", "README"),
        ("VECTOR_ASSETS_DAGSTER_HOME", "not a setting"),
    ],
)
def test_a_misspelt_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings()
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("DELETE_SHARE", "1.5"), ("BATCH_ROWS", "0"), ("BATCH_ROWS", "many"), ("DEVICE", "tpu"), ("COMMIT_SECONDS", "0")]
)
def test_a_value_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"VECTOR_ASSETS_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^VECTOR_ASSETS_{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEAVIATE_TIMEOUT_SECONDS", "0"),
        ("WEAVIATE_CONSISTENCY", "quorum"),
        ("WEAVIATE_BATCHES", "0"),
        ("WEAVIATE_ALLOW_ANONYMOUS", "perhaps"),
    ],
)
def test_a_value_of_weaviate_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        load_settings()


def test_the_key_of_weaviate_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAVIATE_API_KEY", SECRET)
    settings = load_settings()
    assert settings.weaviate_api_key is not None
    assert settings.weaviate_api_key.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_the_secret_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "-home\n")
    (tmp_path / "other").write_text(SECRET + "-file\n")
    monkeypatch.setenv("VECTOR_ASSETS_HOME", str(tmp_path))
    assert load_settings().secret_bytes() == (SECRET + "-home").encode()
    monkeypatch.setenv("VECTOR_ASSETS_SECRET_FILE", str(tmp_path / "other"))
    assert load_settings().secret_bytes() == (SECRET + "-file").encode()
    monkeypatch.setenv("VECTOR_ASSETS_SECRET", SECRET)
    assert load_settings().secret_bytes() == SECRET.encode()
    assert SECRET not in repr(load_settings())


def test_a_missing_or_weak_secret_names_the_remedy(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ConfigurationError, match=r"secret cannot be read \(No such file or directory\); `vector-assets init`"):
        settings.secret_bytes()
    (tmp_path / "secret").write_text("short")
    with pytest.raises(ConfigurationError, match=f"shorter than {MIN_SECRET_BYTES} bytes") as caught:
        settings.secret_bytes()
    assert "short\n" not in str(caught.value)
    assert str(tmp_path / "secret") in str(caught.value)


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.home = tmp_path / "other"  # type: ignore[misc]


def test_sources_are_read_once_and_know_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text('catalogs: {c: {engine: duckdb, path: "${VECTOR_ASSETS_HOME}/${PLACE}"}}\ntables: []\n')
    monkeypatch.setenv("PLACE", "x.duckdb")
    settings = Settings(home=tmp_path / "home", sources=path)
    assert settings.tables.catalogs["c"].path == tmp_path / "home" / "x.duckdb"  # type: ignore[union-attr]
    path.unlink()
    assert settings.tables is settings.tables
