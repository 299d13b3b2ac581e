"""Where tables are: what sources.yaml says of each catalog, as frozen, validated models. No I/O: passwords are read where they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from vector_assets.frozen import Frozen


class DuckDBCatalog(Frozen):
    """A DuckDB database file."""

    engine: Literal["duckdb"]
    path: Path


class TrinoCatalog(Frozen):
    """One catalog of one Trino cluster, and how to log in there. Catalogs of one cluster may log in as different users."""

    engine: Literal["trino"]
    host: str = Field(min_length=1)
    port: int = Field(default=8080, ge=1, le=65535)
    user: str = Field(min_length=1)
    catalog: str = Field(min_length=1)
    tls: bool | None = None
    ca: Path | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    jwt: SecretStr | None = None
    jwt_file: Path | None = None
    roles: dict[str, str] = Field(default_factory=dict)
    session: dict[str, str | int | float | bool] = Field(default_factory=dict)
    client_tags: tuple[str, ...] = ()
    spooling: bool = True
    timeout_seconds: float = Field(default=60, gt=0)

    @field_validator("host")
    @classmethod
    def _alone(cls, host: str) -> str:
        if "/" in host or "@" in host or host.count(":") == 1:  # two and more: an IPv6 address
            raise ValueError("not a host alone: the port is a setting of its own, and `tls` says what https:// would")
        return host.strip("[]")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in ("password", "password_file", "jwt", "jwt_file") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are both given: one way to log in is enough")
        if given and not self.encrypted:
            raise ValueError(f"tls is off, and {given[0]} would travel in the clear: Trino takes it over TLS only")
        if self.ca is not None and not self.encrypted:
            raise ValueError("ca is given, and tls is off: remove one of them")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the cluster is spoken to over TLS: as `tls` says; where it says nothing, when there is a credential, a `ca`, or a port
        that is usually TLS (443, 8443)."""
        if self.tls is not None:
            return self.tls
        credentials = (self.password, self.password_file, self.jwt, self.jwt_file, self.ca)
        return any(each is not None for each in credentials) or self.port in (443, 8443)


Catalog = Annotated[DuckDBCatalog | TrinoCatalog, Field(discriminator="engine")]
