"""One stage of one table, as a Lance dataset: rows with their state, versions, and the tag `published`.

A `StageTable` has two versions that matter: the *newest*, where work goes on, and the *published* one, which is all that anybody else
reads. A version is read through a `View` (view.py); what a published one stands for is its `State`, stored in that version's metadata.

Nothing here decides what to write; `sync.py` does. Whoever writes holds the table's lease: two stale Lance handles would silently
overwrite each other, and a tag moves backwards without complaint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.errors import LeaseLostError, StorageError
from vector_assets.fingerprint import Hashes, to_arrow
from vector_assets.reconcile.store import Access, storage_errors
from vector_assets.reconcile.view import INPUT, METADATA, ROW_COLUMNS, ROW_ID, State, View

PUBLISHED = "published"
_WORK = "work"  # tags unpublished work while deletes are published around it
_FRAGMENT_ROWS = 1 << 16  # compaction leaves fragments of this size alone, so that its cost follows the change and not the table
_SMALL_FRAGMENTS = 8  # compact when more than this many are smaller


class StageTable:
    """The dataset of one stage and table. `own` are the stage's columns behind `ROW_COLUMNS`; writers pass the lease's `epoch`."""

    def __init__(self, uri: str, own: pa.Schema, *, epoch: int = 0, access: Access = Access()) -> None:  # noqa: B008  # it is immutable
        self.uri, self._access = uri, access
        # Lance 14 reads the columns behind a struct without fields (a table without properties) as one another: those go last.
        self.schema = pa.schema([*ROW_COLUMNS, *sorted(own, key=lambda f: _is_empty(f.type))])
        self._epoch = epoch

    # --- reading ---

    def published(self) -> View | None:
        """What everybody else reads; None before the first publication."""
        return self._view(PUBLISHED)

    def newest(self) -> View | None:
        """Where work goes on; None where there is no table yet."""
        return self._view(None)

    def _view(self, version: str | int | None) -> View | None:
        import lance

        try:
            with storage_errors("open", self.uri):
                return View(lance.dataset(self.uri, version=version, storage_options=self._options))
        except ValueError as error:  # Lance has one class for everything that is not there
            if ".manifest was not found" in str(error):
                raise StorageError(f"{self.uri} has lost a version that is needed; check who else cleans that storage root") from error
            if str(error).startswith(("Dataset at path", "Ref not found")):
                return None
            raise

    # --- writing ---

    def now(self) -> View:
        """The newest version of a table that is known to be there. Raises StorageError where it has gone."""
        view = self.newest()
        if view is None:
            raise StorageError(f"{self.uri} has gone while it was in use; check who else cleans that storage root")
        return view

    def open_for_writing(self) -> View:
        """The newest version, made if there is none; unpublished work that a dead run had stepped around is brought back."""
        view = self.newest()
        if view is None:
            self._write(pa.RecordBatchReader.from_batches(self.schema, []), mode="create")
        elif (work := self._view(_WORK)) is not None:
            self._resume(work)
        return self.now()

    def _resume(self, work: View) -> None:
        with storage_errors("write", self.uri):
            work._dataset.restore()  # noqa: SLF001
        with storage_errors("write", self.uri):
            work._dataset.tags.delete(_WORK)  # noqa: SLF001

    def restore(self, published: View) -> View:
        """Make the published version the newest again, and the newest the published one."""
        with storage_errors("write", self.uri):
            published._dataset.restore()  # noqa: SLF001 - a view is this table's own
        self._tag(published.state)
        return self.now()

    def reshape(self) -> None:
        """Give the newest version the schema of now: what has the same name and a type that casts stays, the rest is NULL."""
        view = self.now()
        if view.schema.equals(self.schema):
            return
        batches = (_fit(batch, self.schema) for batch in view.batches([name for name in self.schema.names if name in view.schema.names]))
        self._write(pa.RecordBatchReader.from_batches(self.schema, batches), mode="overwrite")

    def append(self, rows: pa.Table) -> None:
        """Add rows whose ids are not in the newest version. One commit."""
        if len(rows):
            self._write(_stored(rows, self.schema), mode="append")

    def merge(self, rows: pa.Table) -> None:
        """Replace rows by id, adding those that are missing. One commit."""
        if len(rows):
            with storage_errors("write", self.uri):
                merge = self.now()._dataset.merge_insert(ROW_ID).when_matched_update_all().when_not_matched_insert_all()  # noqa: SLF001
                merge.execute(_stored(rows, self.schema))

    def delete(self, ids: Hashes) -> None:
        """Delete rows by id. One commit."""
        if len(ids):
            with storage_errors("write", self.uri):
                merge = self.now()._dataset.merge_insert(ROW_ID).when_matched_delete()  # noqa: SLF001
                merge.execute(pa.table({ROW_ID: to_arrow(ids)}))

    def purge(self, columns: list[str]) -> None:
        """Set columns to NULL wherever they are not, leave no version that shows them, and keep what is published.

        Only for a table whose newest version is the published one, and whose writers leave these columns non-NULL in every row they write
        (a rejected row gets an empty struct): then all live rows move out of the fragments that hold values, and these go as a whole.
        The cost follows the change.
        """
        view = self.now()
        filled = " OR ".join(f"{column} IS NOT NULL" for column in columns)
        with storage_errors("write", self.uri):
            view._dataset.update(dict.fromkeys(columns, "NULL"), where=filled)  # noqa: SLF001
        self.compact()
        if self._still_shows(columns):
            self._forget_deleted()
        self._tag(view.state)
        self._clean(timedelta(0))
        self._tag(replace(view.state, purged=True))  # said only once it is so: a purge that died on the way is done again

    def start_over(self, columns: list[str]) -> None:
        """Go back to what is published, and count every row of it as made from nothing: values that are gone are needed again, or those
        of unpublished work may stay no longer. History, fingerprints and rejections stay; a table that nobody published goes."""
        published = self.published()
        if published is None:
            self.drop()
            return
        if self.now().version != published.version:
            self.restore(published)
        self.purge(columns)
        self.forget(self.now().observed.ids)

    @property
    def began(self) -> datetime | None:
        """When the oldest version that is left was made; None where there is no table. A purge leaves none that is older than itself."""
        view = self.newest()
        return view._dataset.versions()[0]["timestamp"].astimezone(UTC) if view is not None else None  # noqa: SLF001

    def publish(self, state: State) -> State:
        """Point `published` to the newest version, which stands for `state` (its counts, data version and time are filled in here).

        Raises LeaseLostError where a later epoch or a later look at the source is already published.
        """
        before = self.published()
        if before is not None:
            self._refuse_if_overtaken(before, state.sequence)
        complete = replace(
            self._counted(state, self.now(), before),
            epoch=self._epoch,
            published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._tag(complete)
        return complete

    def _refuse_if_overtaken(self, published: View, sequence: int) -> None:
        if (published.state.epoch, published.state.sequence) > (self._epoch, sequence):
            raise LeaseLostError(f"{self.uri}: a later run has published already; this one stops")

    def _counted(self, state: State, view: View, before: View | None) -> State:
        dirty = ""
        if any(fragment.num_deletions for fragment in view._dataset.get_fragments()):  # noqa: SLF001
            dirty = before.state.dirty_since if before is not None else ""
            dirty = dirty or datetime.now(UTC).isoformat(timespec="seconds")
        return replace(state, data_version=view.data_version(), **view.counts()._asdict(), dirty_since=dirty)

    def restate(self, source_version: str, sequence: int) -> None:
        """Note that what is published stands for a later look at the source too, which had the same rows. Raises as `publish` does."""
        view = self.now()
        self._refuse_if_overtaken(view, sequence)
        self._tag(replace(view.state, source_version=source_version, sequence=sequence, epoch=self._epoch))

    def publish_deletes(self, ids: Hashes) -> None:
        """Delete rows from the published version alone and publish that, while unpublished work stands in newer versions."""
        if self.published() is not None and len(ids):
            self._publish_beneath(lambda: self.delete(ids))

    def forget(self, ids: Hashes) -> None:
        """Make rows count as made from nothing, in the newest and in the published version, so that the next run computes them again.

        Their content stays, and what it shows. Ids that are not there are passed over.
        """
        if self.newest() is None or not len(ids):
            return
        newest, published = self.open_for_writing(), self.published()
        if published is not None and published.version != newest.version:
            self._publish_beneath(lambda: self._unmake(ids))
        self._unmake(ids)
        if published is not None and published.version == newest.version:
            self._tag(self._counted(published.state.relieved, self.now(), published))

    def _unmake(self, ids: Hashes) -> None:
        with storage_errors("write", self.uri):
            merge = self.now()._dataset.merge_insert(ROW_ID).when_matched_update_all()  # noqa: SLF001
            merge.execute(pa.table({ROW_ID: to_arrow(ids), INPUT: to_arrow(np.zeros_like(ids))}))

    def _publish_beneath(self, change: Callable[[], None]) -> None:
        """Change the published version and publish that, while unpublished work stands in newer versions.

        The work is tagged, the published version restored as the newest, changed, relieved of its claim and published; then the work comes
        back. A run that dies in between leaves the tag, and the next one brings the work back (`open_for_writing`).
        """
        work, published = self.now(), self.published()
        assert published is not None
        with storage_errors("write", self.uri):
            work._dataset.tags.create(_WORK, work.version)  # noqa: SLF001
        with storage_errors("write", self.uri):
            published._dataset.restore()  # noqa: SLF001
        change()
        view = self.now()
        self._tag(self._counted(view.state.relieved, view, published))
        self._resume(work)

    # --- housekeeping ---

    def compact(self) -> None:
        """Join small fragments once there are more than a few."""
        dataset = self.now()._dataset  # noqa: SLF001
        small = sum(1 for fragment in dataset.get_fragments() if fragment.count_rows() < _FRAGMENT_ROWS // 2)
        if small > _SMALL_FRAGMENTS:
            with storage_errors("write", self.uri):
                dataset.optimize.compact_files(target_rows_per_fragment=_FRAGMENT_ROWS, materialize_deletions=True)

    def tidy(self, retention: timedelta, *, versions: timedelta | None = None) -> None:
        """Leave nothing readable that was replaced or deleted longer ago than the retention; no old version longer than `versions`.

        Lance keeps such rows in their fragments and in old versions. Fragments are rewritten after half of the retention and versions
        removed after half of it, so both together keep within it. Unpublished work, which a check may hold back for long, is tidied too.
        """
        view, published = self.now(), self.published()
        since = published.state.dirty_since if published is not None else ""
        due = not since or datetime.fromisoformat(since) <= datetime.now(UTC) - retention / 2
        if due and (published is None or published.version != view.version):
            if since:
                self._publish_beneath(self._forget_deleted)
            self._forget_deleted()
        elif due and since:
            self._forget_deleted()
            self._tag(replace(view.state, dirty_since=""))
        self._clean(retention / 2 if versions is None else versions)

    def _forget_deleted(self) -> None:
        with storage_errors("write", self.uri):
            self.now()._dataset.optimize.compact_files(  # noqa: SLF001
                target_rows_per_fragment=_FRAGMENT_ROWS, materialize_deletions=True, materialize_deletions_threshold=0.0
            )

    def _still_shows(self, columns: list[str]) -> bool:
        """Whether a deleted row of the newest version still has a value in columns that are NULL in all others (a widened column mixed
        them). A filter cannot ask this: Lance applies it to the rows that are left."""
        dataset = self.now()._dataset  # noqa: SLF001
        torn = [fragment for fragment in dataset.get_fragments() if fragment.num_deletions]
        if not torn:
            return False
        with storage_errors("read", self.uri):
            scanner = dataset.scanner(columns=columns, fragments=torn, with_row_id=True, include_deleted_rows=True)
            return any(batch.column(name).null_count < len(batch) for batch in scanner.to_batches() for name in columns)

    def _clean(self, older_than: timedelta) -> None:
        with storage_errors("write", self.uri):
            self.now()._dataset.cleanup_old_versions(  # noqa: SLF001
                older_than=older_than, delete_unverified=not older_than, error_if_tagged_old_versions=False
            )

    def drop(self) -> None:
        """Remove the table, all versions of it. No error where there is none."""
        import lance

        if self.newest() is not None:
            with storage_errors("remove", self.uri):
                lance.LanceDataset.drop(self.uri, self._options)

    # --- inside ---

    @property
    def _options(self) -> dict[str, str] | None:
        return self._access.options()

    def _tag(self, state: State) -> None:
        self._note(state)
        dataset = self.now()._dataset  # noqa: SLF001
        with storage_errors("write", self.uri):
            if PUBLISHED in dataset.tags.list():
                dataset.tags.update(PUBLISHED, dataset.version)
            else:
                dataset.tags.create(PUBLISHED, dataset.version)

    def _note(self, state: State) -> None:
        with storage_errors("write", self.uri):
            self.now()._dataset.update_metadata({METADATA: json.dumps(asdict(state), sort_keys=True)})  # noqa: SLF001

    def _write(self, rows: pa.Table | pa.RecordBatchReader, *, mode: str) -> None:
        import lance

        if mode == "create":
            self._access.prepare()
        options = self._options
        with storage_errors("write", self.uri):
            lance.write_dataset(
                rows,
                self.uri,
                mode=mode,
                schema=self.schema,
                max_rows_per_file=_FRAGMENT_ROWS,
                transaction_properties={"epoch": str(self._epoch)},
                storage_options=options,
            )


def _is_empty(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind)) and not kind.num_fields


def _stored(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of a schema. A struct without fields is never NULL: Lance cannot tell."""
    rows = rows.cast(schema)
    for at, field_ in enumerate(schema):
        if _is_empty(field_.type):
            rows = rows.set_column(at, field_, _nothing(len(rows), field_.type))
    return rows


def _nothing(rows: int, kind: pa.DataType) -> pa.Array:
    return pa.array([{}] * rows, kind) if _is_empty(kind) else pa.nulls(rows, kind)


def _fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [_fit_column(batch.column(f.name) if f.name in batch.schema.names else None, f.type, len(batch)) for f in schema]
    return pa.record_batch(columns, schema=schema)


def _fit_column(column: pa.Array | None, kind: pa.DataType, rows: int) -> pa.Array:
    if column is None or _is_empty(kind):
        return _nothing(rows, kind)
    if column.type == kind:
        return column
    if pa.types.is_struct(kind) and pa.types.is_struct(column.type):
        names = {f.name for f in column.type}
        children = [_fit_column(pc.struct_field(column, [f.name]) if f.name in names else None, f.type, rows) for f in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=column.is_null())
    try:
        return column.cast(kind)
    except pa.ArrowNotImplementedError:
        return pa.nulls(rows, kind)
    except pa.ArrowInvalid:
        # One value that does not fit: its row is different by now and will be computed again; its neighbours are not.
        half = rows // 2
        parts = [_fit_column(part, kind, len(part)) for part in (column[:half], column[half:])] if half else [pa.nulls(rows, kind)]
        return pa.concat_arrays(parts)
