"""Columns that nobody declared are dropped, never passed through: whatever a source has beside them, no stage and no object shows it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vector_assets_tests.scripted import Lake

CANARY = "canary"
# How a column may be named in sources.yaml, or not at all; `id`, `body` and `status` are always declared.
PLACES = ["undeclared", "undeclared", "drop", "quality", "keep", "redact", "hash"]
NAMES = st.text("abcXYZ _-é.", min_size=1, max_size=8).filter(lambda name: name.strip())
COLUMNS = st.lists(NAMES, min_size=len(PLACES), max_size=len(PLACES), unique=True).map(lambda names: dict(zip(names, PLACES, strict=True)))


def versions(home: Path, stage: str) -> Iterator[pa.Table]:
    """Every version of every table of a stage that is still there, deleted rows too."""
    import lance

    for path in home.rglob("*.lance"):
        if path.is_dir() and stage in path.relative_to(home).parts:
            for version in lance.dataset(str(path)).versions():
                yield lance.dataset(str(path), version=version["version"]).scanner(include_deleted_rows=True, with_row_id=True).to_table()


@settings(max_examples=3, deadline=None)  # a lake each
@given(COLUMNS)
def test_nothing_of_an_undeclared_column_is_anywhere(columns: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "secret").write_text("a secret for tests, 32 bytes long")
        properties = {"id": "keep", "status": "keep"} | {
            name: place for name, place in columns.items() if place not in ("undeclared", "quality")
        }
        quality = {name: {"min_length": 1} for name, place in columns.items() if place == "quality"}
        lake = Lake(home, [], table={"properties": properties, "quality": quality, "private": "keep"})
        lake.source.schema = pa.schema([*lake.source.schema, *(pa.field(name, pa.string()) for name in columns)])
        values = {name: f"{CANARY}{number}" for number, name in enumerate(columns)}
        lake.rows.extend({"id": key, "body": f"text {key}", "status": "open", **values} for key in range(3))
        lake.sync()
        lake.rows[0] = {**lake.rows[0], "body": "another text"}
        del lake.rows[2]
        lake.sync()

        before = {stage: _said(home, stage) for stage in ("raw_tables", "cleaned_frames")}
        after = {stage: _said(home, stage) for stage in ("redacted_text", "embeddings")}
        after["objects"] = "".join(str(made.objects) for made in lake.index.made.values())
        assert "another text" in after["objects"]
        assert "another text" in after["redacted_text"]
        for name, place in columns.items():
            holding = {stage for stage, text in {**before, **after}.items() if values[name] in text}
            if place == "undeclared":
                assert not holding
            elif place in ("keep", "redact"):
                assert holding == {*before, *after}
            else:
                assert not holding & {*after}


def _said(home: Path, stage: str) -> str:
    return "".join(str(table.to_pylist()) for table in versions(home, stage))
