"""Where things are: the only reader of the environment.

`VECTOR_ASSETS_*`, `MLFLOW_TRACKING_URI`, `WEAVIATE_*` and `DAGSTER_HOME` become one frozen `Settings`. What to sync is in sources.yaml
(`tables.py`). Secrets are read from the environment or from files, when they are needed, and are never printed.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vector_assets.errors import ConfigurationError
from vector_assets.sources_file import load_sources
from vector_assets.tables import MessageFormat, Sources

PREFIX = "VECTOR_ASSETS_"
MIN_SECRET_BYTES = 16
_OTHERS = 0o037  # whoever is neither the owner nor reads by the group, which is how Kubernetes hands out secrets


class Settings(BaseSettings):
    """Every knob that is not about one table. Sizes are in bytes or rows, times in seconds, as the names say."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    home: Path = Field(default=Path(".vector_assets"), description="Everything local lives here unless told otherwise.")
    sources: Path = Field(default=Path("sources.yaml"), description="What to sync.")
    storage: str = Field(default="", description="Root of stage tables free of personal data; a path or an object-store URI.")
    private: str = Field(default="", description="Root of stage tables that still hold unmasked values.")
    private_credentials_file: Path | None = Field(
        default=None, description="File of object-store options (`name=value` lines) for the private root alone; unset: the ambient ones."
    )
    index: str = Field(default="", description="Root of the embedded Lance index.")
    secret: SecretStr | None = Field(default=None, description="Key of pseudonyms and of `hash` policies.")
    secret_file: Path | None = Field(default=None, description="File that holds the secret; `init` makes HOME/secret.")
    keyed_row_ids: bool = Field(default=False, description="Key row ids with the secret; fixed for the life of the data.")
    dagster_home: Path | None = Field(
        default=None, validation_alias="DAGSTER_HOME", description="The Dagster instance of CLI, UI and daemon."
    )
    mlflow_tracking_uri: str = Field(default="", validation_alias="MLFLOW_TRACKING_URI", description="The model registry.")
    weaviate_url: str | None = Field(
        default=None, validation_alias="WEAVIATE_URL", description="Set: Weaviate is the index. http://host:8080, https://…"
    )
    weaviate_grpc_url: str | None = Field(
        default=None, validation_alias="WEAVIATE_GRPC_URL", description="Its gRPC endpoint, where that is not port 50051 of the same host."
    )
    weaviate_api_key: SecretStr | None = Field(default=None, validation_alias="WEAVIATE_API_KEY", description="Its API key.")
    weaviate_api_key_file: Path | None = Field(
        default=None, validation_alias="WEAVIATE_API_KEY_FILE", description="File that holds its API key."
    )
    weaviate_allow_anonymous: bool = Field(
        default=False, validation_alias="WEAVIATE_ALLOW_ANONYMOUS", description="Use a Weaviate that lets anybody in; refused unless set."
    )
    weaviate_timeout_seconds: float = Field(
        default=60, gt=0, validation_alias="WEAVIATE_TIMEOUT_SECONDS", description="How long one call to Weaviate may take."
    )
    weaviate_consistency: Literal["ONE", "QUORUM", "ALL"] = Field(
        default="QUORUM", validation_alias="WEAVIATE_CONSISTENCY", description="Replicas that acknowledge a write and answer a read."
    )
    weaviate_batches: int = Field(
        default=4, ge=1, validation_alias="WEAVIATE_BATCHES", description="Batches of objects that are under way to Weaviate at one time."
    )
    model: str = Field(default="text-embedder", description="The registered model whose alias `champion` serves.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the encoder runs.")
    delete_share: float = Field(default=0.3, ge=0, le=1, description="Delete brake: largest share of published rows deleted unasked.")
    delete_rows: int = Field(default=100, ge=0, description="Delete brake: tables up to this many published rows may shrink freely.")
    batch_rows: int = Field(default=2048, ge=1, description="Rows read and computed at a time, at most.")
    batch_bytes: int = Field(default=16 << 20, ge=1 << 10, description="Bytes read and computed at a time, about.")
    commit_rows: int = Field(default=32_768, ge=1, description="A commit holds at most about this many rows.")
    commit_seconds: float = Field(default=30, gt=0, description="Work is committed at least this often.")
    retention_hours: float = Field(default=24 * 7, ge=0, description="Old versions and deleted rows stay readable this long.")
    tables_at_once: int = Field(default=4, ge=1, description="Tables that `sync` overlaps in one process.")
    compute_slots: int = Field(default=1, ge=1, description="Of those, how many compute at one time; the others wait for I/O.")
    redaction_workers: int = Field(default=0, ge=0, description="Presidio processes; 0: one per core.")
    webhook_url: SecretStr | None = Field(default=None, description="Where notifications are posted; a secret.")
    webhook_url_file: Path | None = Field(default=None, description="File that holds that address.")
    webhook_format: MessageFormat = Field(default="json", description="What is posted there.")
    webhook_key: SecretStr | None = Field(default=None, description="PagerDuty's routing key; its address is known.")
    webhook_key_file: Path | None = Field(default=None, description="File that holds that key.")
    ui_url: str = Field(default="", description="Address of Dagster's webserver, for links in notifications.")
    servers: Path = Field(
        default=Path("~/.cache/vector_assets"), description="Where `make servers` keeps real servers for tests and the live demo."
    )
    lease_wait_seconds: float = Field(default=600, ge=0, description="How long a person's run waits for another one on the same table.")

    @model_validator(mode="after")
    def _defaults_below_home(self) -> Self:
        for name, folder in {"storage": "stages", "private": "private", "index": "index"}.items():
            if not getattr(self, name):
                object.__setattr__(self, name, str(self.home.absolute() / folder))
        if not self.mlflow_tracking_uri:
            object.__setattr__(self, "mlflow_tracking_uri", f"sqlite:///{self.home.absolute() / 'mlflow.db'}")
        if self.dagster_home is None:
            object.__setattr__(self, "dagster_home", self.home.absolute() / "dagster")
        return self

    @cached_property
    def tables(self) -> Sources:
        """sources.yaml, read once. Raises ConfigurationError."""
        return load_sources(self.sources, {**os.environ, f"{PREFIX}HOME": str(self.home.absolute())})

    def secret_bytes(self) -> bytes:
        """The secret. Raises ConfigurationError where there is none, or a weak one."""
        if self.secret is not None:
            value, place = self.secret.get_secret_value().encode(), f"{PREFIX}SECRET"
        else:
            path = self.secret_file or self.home / "secret"
            place = str(path)
            try:
                value = path.read_bytes().strip()
            except OSError as error:
                raise ConfigurationError(
                    f"no secret: {path} cannot be read ({error.strerror}); `vector-assets init` makes one, or set {PREFIX}SECRET_FILE"
                ) from None
        if len(value) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"the secret in {place} is shorter than {MIN_SECRET_BYTES} bytes: make a longer one")
        return value

    def private_credentials(self) -> dict[str, SecretStr]:
        """Object-store options for the private root, read anew each time, since they may be rotated; none where no file is named.

        Raises ConfigurationError where the file cannot be read, may be read by everybody, or holds something else.
        """
        path = self.private_credentials_file
        return {} if path is None else _options(path)


def _options(path: Path) -> dict[str, SecretStr]:
    """`name=value` lines; blank ones and those that begin with # are skipped. No message quotes a line."""
    name = f"{PREFIX}PRIVATE_CREDENTIALS_FILE"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(
            f"{name}: {path} cannot be read ({said}); raw_tables, cleaned_frames and redacted_text need it, and no other stage"
        ) from None
    if mode & _OTHERS:
        raise ConfigurationError(f"{name}: {path} is open to others (mode {mode:o}): chmod 600 {path} (in Kubernetes: defaultMode 0440)")
    options = {}
    for number, line in enumerate(lines, start=1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not key or key.startswith("#"):
            continue
        if not equals or not re.fullmatch(r"[A-Za-z0-9_.]+", key):
            raise ConfigurationError(f"{name}: line {number} of {path} is not `name=value`, as in aws_access_key_id=…")
        options[key.lower()] = SecretStr(value)
    return options


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises ConfigurationError for a value that does not fit or a misspelt `VECTOR_ASSETS_…` name."""
    names = os.environ if environment is None else environment
    known = {f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if field.validation_alias is None}
    for name in names:
        if name.startswith(PREFIX) and name.upper() not in known:
            # Without the prefix, which would make any two names alike.
            close = difflib.get_close_matches(name.removeprefix(PREFIX), [full.removeprefix(PREFIX) for full in known], n=1)
            raise ConfigurationError(
                f"{name} is not a setting" + (f": did you mean {PREFIX}{close[0]}?" if close else "; README lists them")
            )
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = str(problem["loc"][0])  # a field, or the variable that it has for a name
        field = Settings.model_fields.get(place.lower())
        name = place.upper() if field is None else str(field.validation_alias or f"{PREFIX}{place.upper()}")
        raise ConfigurationError(f"{name}: {problem['msg']}") from None
