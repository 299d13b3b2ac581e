"""What a version of redacted_text is like, judged before it is published: nothing private in it, and nothing unlike what was published.

Only what is not published yet is read as text; everything else is columns of a few bytes per row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vector_assets.checks.judge import ROWS, Judge
from vector_assets.checks.result import CheckResult, Figure
from vector_assets.checks.statistics import Statistics, centre
from vector_assets.fingerprint import Hashes, from_arrow, to_arrow
from vector_assets.reconcile.audit import Audit, Candidate
from vector_assets.reconcile.plan import Positions, RowSet, plan
from vector_assets.reconcile.view import ROW_ID, View
from vector_assets.redacted.layout import (
    CHARACTERS,
    ENTITIES,
    IDENTIFIER,
    LANGUAGE,
    NAME,
    PROPERTIES,
    SIGNALS,
    STUFFED,
    TEXT,
    TEXT_FINGERPRINT,
)
from vector_assets.redacted.net import Net
from vector_assets.redacted.texts import LANGUAGES, UNDETERMINED

_ROW_IDS = 20
_SCAN_ROWS, _SCAN_CHARACTERS = 8_192, 16_000_000
_LENGTHS = 42  # half octaves: 2^20.5 characters and more are one bin
_OCTAVE_FLOOR = 0.25


class Scan(NamedTuple):
    """What the second net saw: how many rows, how many it holds something against, in how many each entity, and the first of their ids."""

    rows: int
    hits: int
    entities: Mapping[str, int]
    row_ids: tuple[bytes, ...]


class Columns(NamedTuple):
    """The narrow columns of every row that has content."""

    rows: RowSet
    positions: Positions
    table: pa.Table

    def of(self, name: str) -> pa.ChunkedArray:
        """One of them."""
        return self.table.column(name)

    def flagged(self, bit: int) -> npt.NDArray[np.bool_]:
        """Rows whose signals have a bit."""
        flagged: npt.NDArray[np.bool_] = (self.of(SIGNALS).to_numpy() & bit) > 0
        return flagged


def narrow(view: View) -> Columns:
    """The narrow columns of a version."""
    return Columns(*view.content(CHARACTERS, TEXT_FINGERPRINT, LANGUAGE, ENTITIES, SIGNALS))


def judged(candidate: Candidate, judge: Judge, *, net: Net, everything: bool, properties: Sequence[str], entities: Sequence[str]) -> Audit:
    """Every check of redacted_text but recall.

    Args:
        candidate: the version to publish.
        judge: thresholds and history.
        net: what looks through texts that are not published.
        everything: whether it looks through published ones too.
        properties: names of redacted properties.
        entities: those that texts may have tags of.
    """
    columns = narrow(candidate.view)
    positions = columns.positions if everything else candidate.fresh
    scan = scanned(candidate.view, positions, _widths(columns, positions), net=net, properties=properties)
    texts = int(np.count_nonzero(columns.of(CHARACTERS).to_numpy()))
    lengths, languages = _lengths(columns), _languages(columns)
    copies, shares = _copies(columns), _shares(columns, entities, texts)
    stuffed = int(columns.flagged(STUFFED).sum())
    measured = Statistics(
        {"texts": float(texts), "stuffed": float(stuffed), **copies._asdict(), **shares},
        {"characters": lengths, "language": languages},
    )
    return Audit(
        measured,
        (
            _second_net(scan, judge),
            _known_values(columns, candidate.published, judge),
            _known_names(columns, judge),
            judge.shift("redacted_lengths", {"characters": lengths}, named=_length),
            _duplicates(copies, texts, judge),
            judge.shift("language_shares", {"language": languages}, named=lambda _, at: (*LANGUAGES, UNDETERMINED)[at]),
            _entity_shares(shares, texts, judge),
            _stuffing(stuffed, texts, judge),
        ),
    )


# --- private data ----------------------------------------------------------------------------------------------------------------------


def scanned(view: View, positions: Positions, widths: npt.NDArray[np.int64], *, net: Net, properties: Sequence[str]) -> Scan:
    """Look through text and redacted properties of some rows. `widths`: characters of each, so that memory stays bounded."""
    hits, entities, ids = 0, Counter[str](), list[bytes]()
    read = [ROW_ID, TEXT, *([PROPERTIES] if properties else [])]
    for chunk in _chunks(positions, widths):
        table = view.take(chunk, read)
        found = [net.entities(text) if text else set() for text in table.column(TEXT).to_pylist()]
        for name in properties:
            for row, text in enumerate(pc.struct_field(table.column(PROPERTIES), [name]).to_pylist()):
                if text:
                    found[row] |= net.entities(text)
        for hit, row_id in zip(found, table.column(ROW_ID).to_pylist(), strict=True):
            if hit:
                hits += 1
                entities.update(hit)
                if len(ids) < _ROW_IDS:
                    ids.append(row_id)
    return Scan(len(positions), hits, entities, tuple(ids))


def _widths(columns: Columns, positions: Positions) -> npt.NDArray[np.int64]:
    characters: npt.NDArray[np.int64] = columns.of(CHARACTERS).to_numpy().astype(np.int64)
    return characters[np.searchsorted(columns.positions, positions)]


def _chunks(positions: Positions, widths: npt.NDArray[np.int64]) -> Iterator[Positions]:
    """Positions in runs of at most so many rows and about so many characters."""
    start, ends = 0, np.cumsum(widths)
    while start < len(positions):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + _SCAN_CHARACTERS, side="right"))
        end = min(max(end, start + 1), start + _SCAN_ROWS)
        yield positions[start:end]
        start = end


def _second_net(scan: Scan, judge: Judge) -> CheckResult:
    named = ", ".join(f"{entity} in {count:,}" for entity, count in sorted(scan.entities.items()))
    said = f"{scan.hits:,} of {scan.rows:,} rows that are new or changed still hold personal data" + (f": {named}" if named else "")
    figures: dict[str, Figure] = {"rows": scan.rows, **dict(scan.entities), **_shown(scan.row_ids)}
    return judge.limit("second_net", scan.hits, said, figures)


def _known_values(columns: Columns, published: View | None, judge: Judge) -> CheckResult:
    new = _news(columns, published, IDENTIFIER)
    said = f"{len(new):,} rows still hold an identifier that a personal column of theirs gives away"
    return judge.limit("known_values", len(new), said, _shown(to_arrow(new[:_ROW_IDS]).to_pylist()))


def _news(columns: Columns, published: View | None, bit: int) -> Hashes:
    """Ids of rows with a bit that are not published with it as they are: what is, somebody accepted."""
    now = _with_bit(columns, bit)
    if published is None or SIGNALS not in published.schema.names:
        return now.ids
    todo = plan(now, _with_bit(narrow(published), bit))
    ids: Hashes = now.ids[np.sort(np.concatenate([todo.inserts, todo.changes]))]
    return ids


def _with_bit(columns: Columns, bit: int) -> RowSet:
    mask = columns.flagged(bit)
    return RowSet(columns.rows.ids[mask], columns.rows.fingerprints[mask])


def _known_names(columns: Columns, judge: Judge) -> CheckResult:
    mask = columns.flagged(NAME)
    hits, rows = int(mask.sum()), len(mask)
    ids = to_arrow(columns.rows.ids[mask][:_ROW_IDS]).to_pylist()
    said = f"{hits:,} of {rows:,} rows still hold a name that a personal column of theirs gives away"
    return judge.limit("known_names", round(hits / rows, 6) if rows else 0.0, said, {"rows": hits, **_shown(ids)})


def _shown(row_ids: Sequence[bytes]) -> dict[str, Figure]:
    return {"row_ids": ", ".join(each.hex() for each in row_ids)} if row_ids else {}


# --- what texts are like ---------------------------------------------------------------------------------------------------------------


class _Copies(NamedTuple):
    """Rows whose text another row has too, and rows of the most frequent text; empty texts are none."""

    duplicates: float
    largest_copy: float


def _lengths(columns: Columns) -> list[int]:
    characters = columns.of(CHARACTERS).to_numpy()
    bins = np.minimum(np.where(characters > 0, 1 + 2 * np.log2(np.maximum(characters, 1)), 0).astype(np.int64), _LENGTHS)
    return [int(count) for count in np.bincount(bins, minlength=_LENGTHS + 1)]


def _length(_: str, at: int) -> str:
    return f"texts of about {2 ** ((at - 1) / 2):,.0f} characters" if at else "empty texts"


def _languages(columns: Columns) -> list[int]:
    counts = _counted(columns.of(LANGUAGE))
    return [counts.get(language, 0) for language in (*LANGUAGES, UNDETERMINED)]


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(column).to_pylist() if each["values"] is not None}


def _copies(columns: Columns) -> _Copies:
    hashes = from_arrow(columns.of(TEXT_FINGERPRINT))[columns.of(CHARACTERS).to_numpy() > 0]
    if not len(hashes):
        return _Copies(0.0, 0.0)
    # One 64-bit lane tells them apart: among 10 M texts the chance that two meet is 3 in a million.
    _, sizes = np.unique(hashes[:, 0], return_counts=True)
    return _Copies(float(sizes[sizes > 1].sum()), float(sizes.max()))


def _shares(columns: Columns, entities: Sequence[str], texts: int) -> dict[str, float]:
    """Share of texts with at least one tag, by entity."""
    counts = dict.fromkeys(entities, 0)
    for joined, count in _counted(columns.of(ENTITIES)).items():
        for entity in filter(None, joined.split(",")):
            counts[entity] = counts.get(entity, 0) + count
    return {f"entity_{entity}": round(count / texts, 8) if texts else 0.0 for entity, count in counts.items()}


def _duplicates(copies: _Copies, texts: int, judge: Judge) -> CheckResult:
    """Copies beyond what history had and beyond what a larger table would have: so many that one is suspicious in a table of any size."""
    scores = {
        "largest_copy": _excess(judge, "largest_copy", copies.largest_copy, texts, least=min(max(0.02 * texts, 10.0), 250.0)),
        "duplicates": _excess(judge, "duplicates", copies.duplicates, texts, least=max(0.05 * texts, 10.0)),
    }
    said = (
        f"{copies.duplicates:,.0f} of {texts:,} texts are not the only one of their kind; the most frequent one is there "
        f"{copies.largest_copy:,.0f} times"
    )
    return _against_history(judge, "duplicate_texts", scores, said, copies._asdict())


def _stuffing(stuffed: int, texts: int, judge: Judge) -> CheckResult:
    score = _excess(judge, "stuffed", stuffed, texts, least=5.0)
    said = f"{stuffed:,} of {texts:,} texts repeat a few words over and over"
    return _against_history(judge, "keyword_stuffing", {"stuffed": score}, said, {"stuffed": float(stuffed)})


def _entity_shares(shares: Mapping[str, float], texts: int, judge: Judge) -> CheckResult:
    scores = {name: score for name, share in shares.items() if (score := _octaves(judge, name, share, texts)) is not None}
    worst = max(scores, key=lambda name: (scores[name], name), default="")
    if not worst:
        return _against_history(judge, "entity_shares", {}, "no share to compare with", {})
    said = f"<{worst.removeprefix('entity_')}> is in {shares[worst]:.2%} of texts, as a rule in {judge.median(worst):.2%}"
    return _against_history(judge, "entity_shares", {worst: scores[worst]}, said, {worst: shares[worst]})


def _excess(judge: Judge, name: str, now: float, texts: int, *, least: float) -> float:
    """By how many robust standard deviations a count is above earlier ones, and above earlier ones grown with the table (once it has enough
    rows for a share); the smaller one counts. A spread is at least a quarter of the median, and `least`. Without history: above none."""
    past = [(each.numbers[name], each.numbers["texts"]) for each in judge.history if name in each.numbers]
    counts = [count for count, _ in past] or [0.0]
    grown = [count * texts / total if total >= ROWS else count for count, total in past] or [0.0]
    return min(_above(now, before, least) for before in (counts, grown))


def _above(now: float, before: Sequence[float], least: float) -> float:
    middle, spread = centre(before)
    return max(0.0, (now - middle) / max(spread, 0.25 * middle, least))


def _octaves(judge: Judge, name: str, share: float, texts: int) -> float | None:
    """How far a share is from earlier ones in octaves, against their spread, a quarter octave, and what so many texts leave to chance.

    A share that falls to nothing is many octaves away however small it was, which a difference would not tell. None: too little history.
    """
    before = judge.before(name)
    if len(before) < judge.thresholds.warm_up or not texts:
        return None
    one = 1 / texts
    middle, spread = centre([math.log2(each + one) for each in before])
    usual = max(judge.median(name), one)
    chance = math.sqrt((1 - min(usual, 1.0)) / (usual * texts)) / math.log(2)
    return abs(math.log2(share + one) - middle) / max(spread, _OCTAVE_FLOOR, chance)


def _against_history(judge: Judge, check: str, scores: Mapping[str, float], said: str, numbers: Mapping[str, float]) -> CheckResult:
    """A result by the highest score; nothing is blocked while there is too little history."""
    worst = max(scores, key=lambda name: (scores[name], name), default="")
    score = round(scores.get(worst, 0.0), 4)
    said += f": {score:.2f} robust standard deviations" if judge.history else ""
    said += f" ({judge.begins()})" if judge.warming_up else ""
    result = judge.limit(check, score, said, {"most_unlike": worst, **numbers} if worst else dict(numbers))
    return replace(result, blocks=result.blocks and not judge.warming_up, history=judge.past(numbers))
