"""The Dagster instance that the command line, the UI and the daemon share: DAGSTER_HOME with this project's dagster.yaml in it.

`python -m vector_assets.defs.instance` prepares that folder and prints its path, for `make dev`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg

from vector_assets.errors import ConfigurationError, StorageError
from vector_assets.settings import Settings, load_settings

CONFIG = Path(__file__).with_name("dagster.yaml")  # the file at the top of the repository is the same, for people; a test compares them

# Runs in threads of the command line: Dagster captures a step's output by redirecting the whole process's, progress bars included, and
# hands records of `managed_python_loggers` to every run that is under way.
_IN_THREADS = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    "python_logs": {},
}


def prepare_home(settings: Settings) -> str | None:
    """Make DAGSTER_HOME and put dagster.yaml there; a differing one is kept, and the answer says so. Raises StorageError."""
    home = _home(settings)
    installed, ours = home / "dagster.yaml", CONFIG.read_bytes()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not installed.exists():
            installed.write_bytes(ours)
        elif installed.read_bytes() != ours:
            return f"{installed} differs from this version's dagster.yaml and is kept; delete it to take this version's"
    except OSError as error:
        raise StorageError(f"cannot prepare {home} ({error.strerror}): make it writable, or set DAGSTER_HOME to another folder") from error
    return None


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance for runs in this process, whose output is not captured; use it as a context manager.

    Raises ConfigurationError where its dagster.yaml does not fit, StorageError.
    """
    prepare_home(settings)
    home = _home(settings)
    try:
        return dg.DagsterInstance.local_temp(str(home), overrides=_IN_THREADS)
    except dg.DagsterInvalidConfigError as error:
        raise ConfigurationError(f"{home / 'dagster.yaml'}: {error.message}; delete it to take this version's") from error


def _home(settings: Settings) -> Path:
    assert settings.dagster_home is not None  # `Settings` fills it in
    return settings.dagster_home.absolute()


def main() -> None:
    """Prepare DAGSTER_HOME and print it; a note about it goes to stderr."""
    settings = load_settings()
    note = prepare_home(settings)
    if note:
        print(f"note: {note}", file=sys.stderr)
    print(_home(settings))


if __name__ == "__main__":
    main()
