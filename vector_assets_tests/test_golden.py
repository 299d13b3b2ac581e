"""One odd little table through all five stages over stand-ins, pinned in `golden.json`.

What a stage makes may change only together with its version: else some rows of a user's table would be of today and some of yesterday.
After a change on purpose, bump what the failure names and run `python -m vector_assets_tests.test_golden`, which writes the file anew; its
diff shows what became different.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vector_assets.pipeline import STAGES
from vector_assets.reconcile.view import ATTEMPTS, CONTENT, FIRST_SEEN, INPUT, LAST_SEEN
from vector_assets_tests.fakes import Row
from vector_assets_tests.scripted import REF, Lake

GOLDEN = Path(__file__).with_name("golden.json")
BUMP = {
    "raw_tables": "RAW_VERSION in vector_assets/raw/stage.py",
    "cleaned_frames": "CLEANED_VERSION in vector_assets/cleaned/stage.py, or NORMALIZE_VERSION in vector_assets/cleaned/normalize.py",
    "redacted_text": "REDACTED_VERSION in vector_assets/redacted/stage.py, or POLICY_VERSION in vector_assets/redacted/policy.py",
    "embeddings": "EMBEDDED_VERSION in vector_assets/embedded/stage.py, or PASSAGES_VERSION in vector_assets/embedded/passages.py",
    "weaviate_collections": "INDEXED_VERSION in vector_assets/indexed/stage.py",
    "objects": "INDEXED_VERSION in vector_assets/indexed/stage.py",
}

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("title", pa.string()),
        pa.field("body", pa.string()),
        pa.field("status", pa.string()),
        pa.field("owner", pa.string()),
        pa.field("notes", pa.string()),
        pa.field("price", pa.decimal128(9, 2)),
    ]
)
TABLE = {
    "text": "{title}\n\n{body}",
    "html": ["body"],
    "properties": {"id": "keep", "status": "keep", "owner": "hash", "notes": "redact", "price": "keep", "title": "drop"},
    "quality": {"status": {"isin": ["open", "closed"]}, "title": {"max_length": 60}},
    "passages": {"max_tokens": 16, "overlap_tokens": 4},
    "private": "keep",
}
ODD: dict[str, tuple[object, str | None, str | None]] = {
    "plain": (1, "A title", "A plain text."),
    "NULL text": (2, None, None),
    "empty text": (3, "", ""),
    "white space": (4, " \t\u00a0", "\n\u2003\n"),
    "markup": (5, "1 < 2 & <b>kept</b>", "<p>One&nbsp;&amp; <b>two</b></p><script>alert(1)</script><ul><li>three<li>four</ul>"),
    "emoji": (6, "👩‍👩‍👧‍👦 and 🇪🇺", "👍🏽 fine, e\u0301 and \u00e9"),
    "right to left": (7, "שלום עולם", "\u202eمرحبا\u202c بالعالم"),
    "invisible": (8, "zero\u200bwidth\ufeff", "bell\x07 null\x00 soft\u00adhyphen\r\nline\x85end"),
    "secret": (9, "a secret title", "no secret is kept; every secret goes"),
    "long": (10, "many words", " ".join(f"word{number}." if number % 9 == 8 else f"word{number}" for number in range(50))),
    "twice": (11, "one of two", "with the same key"),
    "twice, the other": (11, "two of two", "with the same key"),
    "no key": (None, "no key", "at all"),
    "a rule broken": (12, "a title that is much longer than sixty characters, which is more than allowed", "fine"),
    "compatibility": (-13, "ﬁne ① Ⅳ ｗｉｄｅ", "\ufb01ne"),
}


def corpus() -> list[Row]:
    extras = [
        {"status": ("open", "closed", None)[at % 3], "owner": f"owner {at % 4}", "notes": f"a secret of {at}"} for at in range(len(ODD))
    ]
    texts = [
        {"id": key, "title": title, "body": body, "price": None if at == 2 else at * 5}
        for at, (key, title, body) in enumerate(ODD.values())
    ]
    return [{**text, **extra} for text, extra in zip(texts, extras, strict=True)]


def _plain(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {key: _plain(item) for key, item in value.items() if key != "vector"}
        case list():
            return [_plain(item) for item in value]
        case str() | int() | float() | None:
            return value
    return str(value)


def make(home: Path) -> dict[str, object]:
    """Rows by stage, and the stage versions, as JSON holds them; input fingerprints are implied by both."""
    lake = Lake(home, corpus(), table=TABLE)
    lake.source.schema = SCHEMA
    (home / "secret").write_text("a secret for tests, 32 bytes long")
    outcomes = lake.sync()
    names = lake.pipeline.generations(lake.settings.tables.spec_for(REF), lake.engines.model)
    name = lake.index.resolve("Things")
    assert name is not None
    folders = {"embeddings": [names.embeddings], "weaviate_collections": [names.collection, str(lake.index.incarnation(name))]}
    made: dict[str, object] = {"versions": {stage: outcomes[stage].state.desired["stage"] for stage in STAGES}, "generations": list(names)}
    for stage in STAGES:
        view = lake.pipeline.published(stage, REF, *folders.get(stage, []))
        assert view is not None
        rows = view.take(np.arange(view.count())).drop_columns([INPUT, FIRST_SEEN, LAST_SEEN, ATTEMPTS]).to_pylist()
        made[stage] = sorted(map(_plain, rows), key=lambda row: row["row_id"])  # type: ignore[index, call-overload]
        made[f"{stage} data version"] = view.state.data_version
    objects = lake.index.made[name].objects.values()
    made["objects"] = sorted((_plain(row) for row in objects), key=lambda row: row["id"])  # type: ignore[index, call-overload]
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    home = tmp_path_factory.mktemp("golden") / "home"
    home.mkdir()
    return json.loads(json.dumps(make(home)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def golden() -> Mapping[str, object]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("stage", [*STAGES, "objects"])
def test_a_stage_makes_what_it_always_made(made: Mapping[str, object], golden: Mapping[str, object], stage: str) -> None:
    if made[stage] == golden[stage]:
        return
    version = STAGES[-1] if stage == "objects" else stage
    if made["versions"][version] == golden["versions"][version]:  # type: ignore[index]
        advice = f"without another version: every user's table would be a mixture. Undo it, or bump {BUMP[stage]}, and"
    else:
        advice = "together with its version: users' tables will be computed anew. If that is meant,"
    assert made[stage] == golden[stage], f"{stage} makes other rows, {advice} run `python -m vector_assets_tests.test_golden`"


@pytest.mark.parametrize("what", ["versions", "generations", *(f"{stage} data version" for stage in STAGES)])
def test_versions_are_what_they_always_were(made: Mapping[str, object], golden: Mapping[str, object], what: str) -> None:
    assert made[what] == golden[what], (
        f"{what} changed: every user's rows will be computed or embedded anew. If that is meant, "
        "run `python -m vector_assets_tests.test_golden`"
    )


def test_the_corpus_shows_what_it_is_for(golden: Mapping[str, list[dict[str, object]]]) -> None:
    reasons = {str(row["reason"]) for stage in STAGES for row in golden[stage] if row["state"] == "rejected"}
    assert len(reasons) == 3, reasons
    assert any(len(row["passages"]) > 2 for row in golden["embeddings"])  # type: ignore[arg-type]
    assert any(row["passages"] == [] for row in golden["embeddings"])
    shown = json.dumps(golden["redacted_text"]) + json.dumps(golden["objects"])
    assert "secret" not in shown
    assert "owner 1" not in shown
    assert all(row[CONTENT] for row in golden["redacted_text"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text(json.dumps(make(Path(folder)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
