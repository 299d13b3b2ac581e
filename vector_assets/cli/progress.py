"""What a person sees while tables are synced: a bar per running table on a terminal, a line per finished stage elsewhere. On stderr."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from vector_assets.cli.results import Numbers, TableResult

if TYPE_CHECKING:
    from vector_assets.reconcile.run import Progress as StageProgress


class Display:
    """Shows tables being synced. Thread-safe."""

    def __init__(self, console: Console, tables: int, stages: Sequence[str]) -> None:
        self._console, self._stages = console, list(stages)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[stage]}", style="cyan"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._all = self._progress.add_task("all tables", total=tables, stage="", visible=tables > 1)
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def begin(self, key: str) -> None:
        """A table is being worked on now."""
        self._running[key] = self._progress.add_task(key, total=None, stage=self._stage(self._stages[0]))

    def at(self, key: str, progress: StageProgress) -> None:
        """How far its stage is."""
        self._progress.update(self._running[key], stage=self._stage(progress.stage), completed=progress.done, total=progress.total)

    def finished(self, key: str, stage: str, numbers: Numbers) -> None:
        """A stage of it is done."""
        following = self._stages[self._stages.index(stage) + 1 :]
        if following:
            self._progress.reset(self._running[key], total=None, stage=self._stage(following[0]))
        if not self._console.is_terminal:
            self._console.print(Text(f"{key}  {stage}: {_rows(numbers)}, {numbers['seconds']:.1f} s"), soft_wrap=True)

    def end(self, key: str, result: TableResult) -> None:
        """A table is through, one way or the other."""
        self._progress.remove_task(self._running.pop(key))
        self._progress.advance(self._all)
        if result.error:
            self._progress.console.print(Text.assemble(("✗ ", "bold red"), f"{key} {result.failure}"), soft_wrap=True)
        elif result.stages:
            last = result.stages[list(result.stages)[-1]]
            seconds = sum(numbers["seconds"] for numbers in result.stages.values())
            line = f"{key}: {_rows(last)}, {seconds:.1f} s"
            self._progress.console.print(Text.assemble(("✓ ", "bold green"), line), soft_wrap=True)

    def _stage(self, stage: str) -> str:
        return f"{self._stages.index(stage) + 1}/{len(self._stages)} {stage}"


def _rows(numbers: Numbers) -> str:
    touched = [f"{numbers[name]:,} {name}" for name in ("added", "changed", "deleted") if numbers[name]]
    rejected = [f"{numbers['rejected']:,} rejected"] if numbers["rejected"] else []
    return ", ".join([*(touched or [f"nothing to do, {numbers['unchanged']:,} rows as they were"]), *rejected])
