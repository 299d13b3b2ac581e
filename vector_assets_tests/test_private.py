"""Unmasked text is held apart: below a root of its own, that only the stages before `redacted_text` can read."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.fs as fs
import pytest

from vector_assets.cli.doctor import project
from vector_assets.cli.search import searcher
from vector_assets.demo.servers.install import Installed
from vector_assets.demo.servers.process import LOOPBACK, free_ports, listens, serving
from vector_assets.errors import ConfigurationError, StorageError
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.pipeline import STAGES, StageName
from vector_assets.reconcile.store import PRIVATE_MODE, Access, private_access
from vector_assets.settings import Settings
from vector_assets.values import PRIVATE
from vector_assets_tests.scripted import Lake

ROWS = [{"id": key, "body": f"body {key} secret", "status": "open"} for key in range(6)]
NEED_IT: tuple[StageName, ...] = STAGES[:3]
DO_NOT: tuple[StageName, ...] = STAGES[3:]


def lake_at(home: Path, **places: object) -> Lake:
    lake = Lake(home, [dict(row) for row in ROWS], **places)
    lake.engines.memory_index = LanceIndex(lake.settings.index)
    return lake


def indexes_and_searches(lake: Lake) -> None:
    """Embeddings, collections and search do their work."""
    assert [outcome.planned for outcome in lake.sync(None, *DO_NOT).values()] == [6, 6]
    assert {hit.text for hit in searcher(lake.engines).search("Things", "body 3", limit=6)} == {f"body {key} <1>" for key in range(6)}


# --- on a disk -------------------------------------------------------------------------------------------------------------------------


def test_a_local_private_root_is_its_owners_alone_and_stays_so(tmp_path: Path) -> None:
    lake = lake_at(tmp_path / "home")
    root = Path(lake.settings.private)
    for _ in range(2):
        lake.sync()
        lake.rows[0] = {**lake.rows[0], "body": "new"}
        assert stat.S_IMODE(root.stat().st_mode) == PRIVATE_MODE
    for stage in PRIVATE:
        lake.pipeline.table(stage, next(iter(lake.source.data))).drop()
    lake.sync(None, "raw_tables")
    assert stat.S_IMODE(root.stat().st_mode) == PRIVATE_MODE
    assert "can be written" in project.private(lake.settings)
    root.chmod(0o755)
    with pytest.raises(ConfigurationError, match=r"can be read by others .mode 755.: chmod 700"):
        project.private(lake.settings)


def test_without_the_private_root_texts_are_embedded_indexed_and_found(tmp_path: Path) -> None:
    lake = lake_at(tmp_path)
    lake.sync(None, *NEED_IT)
    root = Path(lake.settings.private)
    root.rename(tmp_path / "elsewhere")
    root.write_text("not a folder: whoever looks below it fails")
    indexes_and_searches(lake)
    for stage in (NEED_IT[0], NEED_IT[-1]):
        with pytest.raises(StorageError, match=r"private/(raw_tables|cleaned_frames)/lake/s/t.lance: .*check the storage root"):
            lake.sync(None, stage)


# --- credentials -----------------------------------------------------------------------------------------------------------------------


def credentials(path: Path, text: str, mode: int = 0o600) -> Settings:
    path.write_text(text)
    path.chmod(mode)
    return Settings(home=path.parent, private="s3://private/stages", private_credentials_file=path)


def test_a_file_of_credentials_is_read_when_it_is_needed_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "private.env"
    settings = credentials(file, "# for the private bucket\n\nAWS_ACCESS_KEY_ID = me\naws_secret_access_key=s3cr3t==\n", 0o640)
    access = private_access(settings.private, settings.private_credentials)
    assert access.options() == {"aws_access_key_id": "me", "aws_secret_access_key": "s3cr3t==", "aws_session_token": ""}
    assert "s3cr3t" not in f"{settings!r} {settings.private_credentials()!r} {access!r}"
    file.write_text("google_service_account=/key.json")
    assert access.options() == {"google_service_account": "/key.json"}, "rotated"
    assert Settings(private="s3://x").private_credentials() == {}
    assert Access().options() is None


@pytest.mark.parametrize("root", ["/a/folder", "file:///a/folder"])
def test_a_local_root_needs_no_credentials(tmp_path: Path, root: str) -> None:
    settings = Settings(home=tmp_path, private_credentials_file=tmp_path / "missing")
    access = private_access(root, settings.private_credentials)
    assert (access.options(), access.private_folder) == (None, Path("/a/folder"))


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("aws_access_key_id=me", 0o644, "open to others .mode 644.: chmod 600"),
        ("aws_access_key_id=me", 0o660, "open to others"),
        ("a=b\nS3CR3T", 0o600, "line 2 of .* is not `name=value`"),
        ('{"aws_secret_access_key": "S3CR3T="}', 0o600, "line 1 of"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    settings = credentials(tmp_path / "private.env", text, mode)
    with pytest.raises(ConfigurationError, match=f"VECTOR_ASSETS_PRIVATE_CREDENTIALS_FILE: .*{said}") as caught:
        settings.private_credentials()
    assert "S3CR3T" not in str(caught.value)


# --- on an object store with two accounts ----------------------------------------------------------------------------------------------


class TwoAccounts(NamedTuple):
    """An S3 server where `stages` may not read the bucket of `private`, nor the other way round. Buckets are named like their owners."""

    url: str
    secrets: dict[str, str]

    def options(self, account: str) -> dict[str, str]:
        """Options of an account, under the names that the environment has for them."""
        keys = {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": self.secrets[account]}
        return {**keys, "AWS_ENDPOINT": self.url, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}


@pytest.fixture(scope="module")
def accounts(servers: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoAccounts]:
    folder = tmp_path_factory.mktemp("s3")
    for name in ("iam", "buckets", "sidecar"):
        (folder / name).mkdir()
    made = {name: secrets.token_urlsafe(24) for name in ("stages", "private")}
    nobody = {"userID": 0, "groupID": 0, "projectID": 0, "role": "userplus"}  # may make buckets, and sees none but its own
    users = {name: {"access": name, "secret": secret, **nobody} for name, secret in made.items()}
    (folder / "iam" / "users.json").write_text(json.dumps({"accessAccounts": users}))
    (port,) = free_ports(1)
    gateway = [servers.s3, "--quiet", "--region=us-east-1", f"--port={LOOPBACK}:{port}", f"--iam-dir={folder / 'iam'}"]
    root = {"ROOT_ACCESS_KEY": "root", "ROOT_SECRET_KEY": secrets.token_urlsafe(24)}
    command = [*gateway, "posix", f"--sidecar={folder / 'sidecar'}", folder / "buckets"]
    with serving(command, log=folder / "s3.log", ready=lambda: listens(port), environment=root):
        for name, secret in made.items():
            store = {"endpoint_override": f"{LOOPBACK}:{port}", "scheme": "http", "region": "us-east-1"}
            fs.S3FileSystem(access_key=name, secret_key=secret, allow_bucket_creation=True, **store).create_dir(name)
        yield TwoAccounts(f"http://{LOOPBACK}:{port}", made)


def test_who_embeds_indexes_and_searches_has_no_credentials_of_the_private_root(
    accounts: TwoAccounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in accounts.options("stages").items():
        monkeypatch.setenv(variable, value)
    places = {"storage": f"s3://stages/{tmp_path.name}", "private": f"s3://private/{tmp_path.name}"}
    file = tmp_path / "private.env"
    file.write_text("\n".join(f"{name}={value}" for name, value in accounts.options("private").items()))
    file.chmod(0o600)
    trusted = lake_at(tmp_path, **places, private_credentials_file=file)
    assert "with access of its own" in project.private(trusted.settings)
    trusted.sync(None, *NEED_IT)
    file.unlink()
    lake = lake_at(tmp_path, **places, private_credentials_file=file)
    indexes_and_searches(lake)
    for stage in NEED_IT:
        with pytest.raises(ConfigurationError, match=r"private.env cannot be read .* raw_tables, cleaned_frames and redacted_text need it"):
            lake.sync(None, stage)
    untrusted = lake_at(tmp_path, **places)
    with pytest.raises(
        StorageError, match=r"cannot open s3://private/.*403 Forbidden.*check the storage root and its credentials"
    ) as caught:
        untrusted.sync(None, "raw_tables")
    assert accounts.secrets["private"] not in str(caught.value)
    with pytest.raises(StorageError, match=r"cannot use s3://private/"):
        project.private(untrusted.settings)
