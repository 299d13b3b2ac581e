"""Stage tables, leases and the ledger on an object store: the same syncs as on a disk."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from vector_assets.errors import LeaseHeldError
from vector_assets.pipeline import Run
from vector_assets.reconcile.lease import lease
from vector_assets_tests.live.fixtures import S3
from vector_assets_tests.scripted import REF, Lake


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    places = {"AWS_ENDPOINT": s3.url, "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key, "AWS_REGION": s3.region}
    for variable, value in {**places, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(variable, value)
    (s3.folder / name).mkdir()
    yield name
    shutil.rmtree(s3.folder / name)


def test_a_lake_on_s3(bucket: str, tmp_path: Path) -> None:
    rows = [{"id": key, "body": f"body {key} secret", "status": "open"} for key in range(20)]
    places = {"storage": f"s3://{bucket}/stages", "private": f"s3://{bucket}/private"}
    lake = Lake(tmp_path, rows, **places)
    assert [outcome.added for outcome in lake.sync().values()] == [20] * 5
    assert [outcome.planned for outcome in lake.sync().values()] == [0] * 5
    del lake.rows[3]
    lake.rows[4] = {**lake.rows[4], "body": "new"}
    assert [(outcome.changed, outcome.deleted) for outcome in lake.sync().values()] == [(1, 1)] * 5
    assert lake.pipeline.tables_of("Things") == [REF]
    assert not (tmp_path / "stages").exists()


def test_one_writer_per_table_on_s3(bucket: str, tmp_path: Path) -> None:
    lake = Lake(tmp_path, [{"id": 1, "body": "b", "status": "open"}], storage=f"s3://{bucket}/stages", private=f"s3://{bucket}/private")
    with lease(lake.settings.storage, REF, "first"), pytest.raises(LeaseHeldError, match="first"):
        lake.sync(Run("second"))
    lake.sync(Run("second"))
