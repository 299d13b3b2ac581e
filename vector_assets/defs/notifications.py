"""The sensor that tells people elsewhere what goes wrong, and that it is over. Where causes come from is here; what is told of them, to
whom and how, is in `vector_assets/notify`.

Causes are ended runs (which step failed, with which of our errors) and evaluations of freshness. What a later run gets done ends what kept
it from being done. Everything is remembered in the cursor, which is saved after posting: a crash repeats messages, and loses none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from vector_assets.defs.freshness import KEY as FRESHNESS
from vector_assets.defs.run_tags import REPLAY_JOB, partition_of
from vector_assets.errors import ConfigurationError
from vector_assets.notify.board import Board, Cause, Kind
from vector_assets.notify.deliver import deliver
from vector_assets.notify.receivers import configured, is_configured
from vector_assets.pipeline import STAGES
from vector_assets.settings import Settings
from vector_assets.tables import Sources, TableRef

INTERVAL_SECONDS = 30
_LOOK_BACK_SECONDS = 24 * 3600  # when it is first turned on
_OVERLAP_SECONDS = 60.0  # a record may be seen later than its time says: clocks differ, and commits take a moment
_RUNS, _EVALUATIONS, _PAGES = 200, 500, 10  # of one tick
_ANSWER_FOR = ("sync_tables", REPLAY_JOB)
_KINDS: Mapping[str, Kind] = {"AuditError": "blocked_check", "DeleteBrakeError": "delete_brake"}
_NOBODYS_FAULT = "LeaseHeldError"  # another run has the table, and that one counts
_STALE_REMEDY = "materialize the table, or see why its last run failed; `checks: {freshness: {warn: HOURS}}` in sources.yaml sets the limit"
_BUG_REMEDY = "the run's log has the traceback: see it, mend what it says, and launch the table again"


@dataclass
class _Memory:
    """What is remembered from tick to tick. Times are seconds since 1970."""

    runs: float  # runs that were updated until then are known
    done: dict[str, float] = field(default_factory=dict)  # those of the last minute, by id
    checks: int = 0  # events up to this one are known; 0: none
    board: Board = field(default_factory=Board)

    @classmethod
    def of_cursor(cls, cursor: str | None, now: float) -> _Memory:
        try:
            stored = json.loads(cursor or "")
            return cls(float(stored["runs"]), dict(stored["done"]), int(stored["checks"]), Board.of_json(stored["board"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls(now - _LOOK_BACK_SECONDS)

    def cursor(self) -> str:
        stored = {"runs": self.runs, "done": self.done, "checks": self.checks, "board": self.board.as_json()}
        return json.dumps(stored, separators=(",", ":"))


def notifications_sensor(settings: Settings, *, now: Callable[[], float] = time.time) -> dg.SensorDefinition:
    """The sensor; it runs by itself where a receiver is configured when this location is loaded."""
    running = is_configured(settings.model_copy())

    @dg.sensor(
        name="notifications",
        description="Posts to webhooks, once per table and cause, that a check blocks, a run failed, a table is stale or the delete brake "
        "stopped a run; and once that it is over.",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
    )
    def notifications(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        fresh = settings.model_copy()  # reads sources.yaml anew
        sources, problem = _sources(fresh)
        found = configured(fresh, sources)
        if not found.names and not problem:
            return dg.SkipReason("nobody is to be told: set VECTOR_ASSETS_WEBHOOK_URL, or notifications: in sources.yaml")
        memory = _Memory.of_cursor(context.cursor, now())
        board = memory.board
        _learn_runs(context.instance, memory)
        _learn_freshness(context.instance, memory, now())
        if sources is not None:  # else receivers and tables are only out of sight
            _leave_out(board, sources, found.names, now())
        said = [*problem, *found.problems, *deliver(board, found.receivers, ui_url=fresh.ui_url, now=now)]
        for sentence in said:
            context.log.info(sentence)
        board.settle()
        standing = f"{sum(1 for _ in board.open())} causes are open"
        return dg.SensorResult(skip_reason=dg.SkipReason("; ".join([standing, *said])), cursor=memory.cursor())

    return notifications


def _sources(settings: Settings) -> tuple[Sources | None, list[str]]:
    """sources.yaml, or why it cannot be read."""
    try:
        return settings.tables, []
    except ConfigurationError as error:
        return None, [str(error)]


def _leave_out(board: Board, sources: Sources, receivers: Sequence[str], now: float) -> None:
    """What nobody is told of any more: tables and receivers that are not named."""
    board.only(receivers)
    for cause in list(board.open()):
        if sources.find(TableRef.parse(cause.table)) is None:
            board.end(cause.key, now)


# --- runs --------------------------------------------------------------------------------------------------------------------------------


def _learn_runs(instance: dg.DagsterInstance, memory: _Memory) -> None:
    filters = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.fromtimestamp(memory.runs - _OVERLAP_SECONDS, UTC),
    )
    records = instance.get_run_records(filters, limit=_RUNS + len(memory.done), order_by="update_timestamp", ascending=True)
    for record in records:
        run, at = record.dagster_run, record.update_timestamp.timestamp()
        # Tags may be put on a run long after it ended: that is no news.
        if run.run_id not in memory.done and at - (record.end_time or at) <= _OVERLAP_SECONDS:
            _learn_run(instance, run, memory.board, at)
        memory.done[run.run_id] = at
        memory.runs = max(memory.runs, at)
    memory.done = {run_id: at for run_id, at in memory.done.items() if at >= memory.runs - _OVERLAP_SECONDS}


def _learn_run(instance: dg.DagsterInstance, run: dg.DagsterRun, board: Board, at: float) -> None:
    table = partition_of(run.tags)
    if not _is_table(table):
        return
    wanted = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
    records = instance.get_records_for_run(run.run_id, of_type=wanted).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event) is not None]
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    if run.job_name not in _ANSWER_FOR and not {*STAGES} & (selected | {event.step_key for event in events}):
        return
    succeeded = {event.step_key for event in events if event.is_step_success}
    for cause in list(board.open()):
        done = cause.stage in succeeded if cause.stage else run.status == dg.DagsterRunStatus.SUCCESS
        if cause.table == table and cause.kind != "stale_table" and done:
            board.end(cause.key, at)
    if run.status == dg.DagsterRunStatus.FAILURE:
        failures = [event for event in events if event.is_step_failure]
        begun = _cause(failures[-1], table, run.run_id, at) if failures else _untold(table, run.run_id, at)
        if begun is not None:
            board.begin(begun)


def _cause(event: dg.DagsterEvent, table: str, run_id: str, at: float) -> Cause | None:
    """Why a step failed, in our own words. What is no error of ours may quote anything: of that, only its class is told."""
    data, stage = event.step_failure_data, event.step_key or ""
    told = data.user_failure_data
    if told is None:
        error = data.error.cause if data.error is not None and data.error.cause is not None else data.error
        name = error.cls_name if error is not None else "an unknown error"
        return Cause("failed_run", table, at, f"{stage} failed with {name}, which is not an error of ours", _BUG_REMEDY, stage, run_id)
    shown = {label: str(value.value) for label, value in told.metadata.items()}
    name = shown.get("error", "")
    if name == _NOBODYS_FAULT:
        return None
    remedy = shown.get("to_approve") or shown.get("to_accept") or ""
    return Cause(_KINDS.get(name, "failed_run"), table, at, told.description or name, remedy, stage, run_id)


def _untold(table: str, run_id: str, at: float) -> Cause:
    reason = "the run ended before a step could say why: its process was killed, or could not start"
    return Cause("failed_run", table, at, reason, "see the run's events; then launch the table again", "", run_id)


def _is_table(key: str) -> bool:
    try:
        return bool(TableRef.parse(key))
    except ConfigurationError:
        return False


# --- freshness ---------------------------------------------------------------------------------------------------------------------------


def _learn_freshness(instance: dg.DagsterInstance, memory: _Memory, now: float) -> None:
    """How the check `freshness` stands for each table that was evaluated since the last tick."""
    storage, board = instance.event_log_storage, memory.board
    stale: list[str] = []
    for info in storage.get_asset_check_partition_info([FRESHNESS], after_storage_id=memory.checks):
        memory.checks = max(memory.checks, info.latest_check_event_storage_id, info.latest_materialization_storage_id or 0)
        table, standing = info.partition_key or "", info.latest_execution_status.value
        if standing == "SUCCEEDED":
            board.end(Cause("stale_table", table, 0.0).key, now)
        elif standing == "FAILED" and _is_table(table):
            stale.append(table)
    told = _evaluations(instance, stale)
    for table in stale:
        at, said = told.get(table, (now, "searches do not see the table as it is"))
        board.begin(Cause("stale_table", table, at, said, _STALE_REMEDY))


def _evaluations(instance: dg.DagsterInstance, tables: Sequence[str]) -> dict[str, tuple[float, str]]:
    """When and with which words tables were last evaluated; tables where that is further back than is worth looking are left out."""
    found: dict[str, tuple[float, str]] = {}
    before: int | None = None
    for _ in range(_PAGES if tables else 0):
        page = instance.event_log_storage.get_asset_check_execution_history(FRESHNESS, limit=_EVALUATIONS, cursor=before)
        for entry in page:
            event = entry.event.dagster_event if entry.event is not None else None
            evaluation = event.event_specific_data if event is not None else None
            if entry.event is not None and isinstance(evaluation, dg.AssetCheckEvaluation) and entry.partition in tables:
                found.setdefault(str(entry.partition), (entry.event.timestamp, evaluation.description or ""))
        if len(page) < _EVALUATIONS or len(found) == len(tables):
            break
        before = page[-1].id
    return found
