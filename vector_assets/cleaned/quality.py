"""The audit of cleaned_frames: what all rows together must be like. Reads profiles and fingerprints, never a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import Judge
from vector_assets.checks.result import CheckResult, Figure
from vector_assets.checks.statistics import Statistics
from vector_assets.cleaned.profile import HIDDEN, MIXED, Layout, Measured, bin_named
from vector_assets.fingerprint import Hashes, column_fingerprints, from_arrow, to_arrow
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Positions, RowSet, distinct

_NAMED = 20  # row ids in a result
_FEW = 10  # rows: fewer are somebody's paste, and never block


class _Sign(NamedTuple):
    """A sign of an attack: its byte in the profile, from how much a row counts, and what such rows have."""

    check: str
    byte: int
    least: int
    words: str

    @property
    def rows(self) -> str:
        """What the number of such rows is called in statistics."""
        return f"{self.check}.rows"


_SIGNS = (
    _Sign("hidden_characters", HIDDEN, 8, "characters that people do not see"),  # an instruction takes more, a careless paste fewer
    _Sign("mixed_scripts", MIXED, 1, "words that look Latin and are not"),
)


def unique_fingerprints(columns: Mapping[str, pa.Array]) -> pa.StructArray:
    """16 bytes per value of each column, NULL where it is NULL or NaN."""
    hashes = [pc.if_else(_is_null(column), None, to_arrow(column_fingerprints("unique", [("", column)]))) for column in columns.values()]
    return pa.StructArray.from_arrays(hashes, names=list(columns))


def _is_null(column: pa.Array) -> pa.BooleanArray:
    return pc.is_null(column, nan_is_null=pa.types.is_floating(column.type))


def audited(candidate: Candidate, judge: Judge, *, layout: Layout, profile: str, unique: str | None) -> Audit:
    """Statistics and results of a candidate. `profile` and `unique` are columns of it."""
    rows, positions, columns = candidate.view.content(profile, *([unique] if unique else []))
    measured = Measured.of(columns.column(profile), layout)
    found = {sign: measured.at_least(sign.byte, sign.least) for sign in _SIGNS}
    statistics = measured.statistics(layout) | Statistics({sign.rows: float(len(at)) for sign, at in found.items()})
    nulls = {name: share for name, share in statistics.numbers.items() if name.startswith("null_share.")}

    def shift(check: str, statistic: str) -> CheckResult:
        ours = {name: counts for name, counts in statistics.histograms.items() if name.startswith(f"{statistic}.")}
        return judge.shift(check, ours, named=bin_named)

    return Audit(
        statistics,
        (
            judge.deviation("null_shares", nulls, rows=len(measured.rows)),
            shift("text_lengths", "length"),
            shift("numeric_distributions", "magnitude"),
            shift("category_shares", "category"),
            _unique_values(judge, rows.ids, columns.column(unique) if unique else None),
            *(_attack(judge, sign, at, candidate, rows.ids, positions) for sign, at in found.items()),
        ),
    )


def _unique_values(judge: Judge, ids: Hashes, fingerprints: pa.ChunkedArray | None) -> CheckResult:
    """Rows whose value of a unique column another row has, too."""
    if fingerprints is None:
        return judge.limit("unique_values", 0, "no column is declared unique")
    sharing = {f.name: _sharing(pc.struct_field(fingerprints, [f.name])) for f in fingerprints.type}
    broken = {name: at for name, at in sharing.items() if len(at)}
    if not broken:
        return judge.limit("unique_values", 0, f"no value of {', '.join(sharing)} occurs twice")
    rows = np.unique(np.concatenate([*broken.values()]))
    said = "; ".join(f"{len(at):,} rows share their value of {name} with another" for name, at in broken.items())
    counts: dict[str, Figure] = {name: len(at) for name, at in broken.items()}
    return judge.limit("unique_values", len(rows), said, {**counts, "row_ids": _named(ids[rows])})


def _sharing(column: pa.ChunkedArray) -> Positions:
    """Which rows have a fingerprint that another row has; NULLs do not count."""
    at = np.flatnonzero(np.asarray(column.is_valid()))
    hashes = from_arrow(column)[at]
    once = distinct(RowSet(hashes, hashes))
    if not once.repeated.any():
        return np.empty(0, dtype=np.int64)
    repeated = hashes[once.positions[once.repeated]]
    lanes = hashes.view([("first", "<u8"), ("second", "<u8")]).ravel()
    sharing: Positions = at[np.isin(lanes, np.ascontiguousarray(repeated).view(lanes.dtype).ravel())]
    return sharing


def _attack(judge: Judge, sign: _Sign, at: npt.NDArray[np.int64], candidate: Candidate, ids: Hashes, positions: Positions) -> CheckResult:
    """How many more rows have a sign than the median version had, of rows that nobody has checked yet. A row that always had it does not
    count: whoever accepted it once is not asked again."""
    before = judge.median(sign.rows)
    more = max(0, len(at) - int(before))
    said = f"{len(at):,} rows have {sign.words}, where the median of published versions is {before:,.0f}"
    past = judge.past({sign.rows: float(len(at))})
    if not more:
        return replace(judge.limit(sign.check, 0.0, said, {"rows": len(at), "median": before}), history=past)
    new = np.isin(positions[at], candidate.fresh)
    share = more / max(more, len(candidate.fresh))
    figures: dict[str, Figure] = {"rows": len(at), "median": before, "row_ids": _named(ids[at[new] if new.any() else at])}
    result = judge.limit(sign.check, round(share, 6), f"{said}: {share:.3%} of {len(candidate.fresh):,} new or changed rows", figures)
    return replace(result, history=past, blocks=result.blocks and more >= _FEW)


def _named(ids: Hashes) -> str:
    shown: Sequence[bytes] = to_arrow(ids[:_NAMED]).to_pylist()
    more = len(ids) - len(shown)
    return ", ".join(each.hex() for each in shown) + (f" and {more:,} more" if more > 0 else "")
