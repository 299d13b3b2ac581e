"""Checks of what is on this machine: settings, secret, model, storage, Dagster, redaction, device, and the embedded index."""

from __future__ import annotations

import stat
from importlib.metadata import version
from typing import TYPE_CHECKING

from vector_assets.cli.doctor.checks import Check, Checks, Remark
from vector_assets.errors import ConfigurationError, IndexConflict

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline
    from vector_assets.reconcile.store import Access
    from vector_assets.settings import Settings

_SAMPLE = "Ada Lovelace wrote to ada@example.org."


def settings(settings: Settings) -> str:
    """Where this project lives."""
    return f"home {settings.home.absolute()}, device {settings.device}"


def sources(settings: Settings) -> str:
    """sources.yaml can be read, and makes sense."""
    sources = settings.tables
    catalogs, entries = len(sources.catalogs), len(sources.tables)
    return f"{settings.sources}: {catalogs} catalog{'s' * (catalogs != 1)}, {entries} entr{'y' if entries == 1 else 'ies'} under tables"


def secret(settings: Settings) -> str:
    """There is a secret where one is needed, and nobody else can read it."""
    declared = (prop for spec in settings.tables.tables for prop in spec.properties.values())
    needed = settings.keyed_row_ids or any(prop.policy == "hash" for prop in declared)
    path = settings.home / "secret"
    if settings.secret is None and settings.secret_file is None and not path.exists() and not needed:
        return "none, and nothing here needs one"
    settings.secret_bytes()
    if settings.secret is not None:
        return "from VECTOR_ASSETS_SECRET"
    if settings.secret_file is not None:
        return f"from {settings.secret_file}"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
    return f"{path}, mode {mode:o}"


def model(pipeline: Pipeline) -> str:
    """A model serves, and is what was registered."""
    champion = pipeline.engines.champion()
    encoder = pipeline.engines.encoder(champion)  # its files are compared with what was registered
    dimension = len(encoder.encode_query(_SAMPLE))
    if dimension != champion.dimension:
        raise IndexConflict(f"the champion makes vectors of {dimension} and is registered with {champion.dimension}: register it again")
    return f"champion is version {champion.version}, {dimension} dimensions, its files are what was registered"


def private(settings: Settings) -> str:
    """Unmasked values can be written below their root, and nobody else reads a local one."""
    from vector_assets.reconcile.store import private_access

    access = private_access(settings.private, settings.private_credentials)
    found = writable(settings.private, access)
    folder = access.private_folder
    if folder is not None and (mode := stat.S_IMODE(folder.stat().st_mode)) & 0o077:
        raise ConfigurationError(f"{folder} can be read by others (mode {mode:o}): chmod 700 {folder}")
    return f"{found}, with {'the ambient credentials' if folder is None and not settings.private_credentials_file else 'access of its own'}"


def writable(root: str, access: Access | None = None) -> str:
    """Stage tables can be written below a root."""
    import uuid

    import obstore

    from vector_assets.reconcile.store import Access, open_store, store_errors

    store, probe = open_store(root, access or Access()), f".probe-{uuid.uuid4().hex}"
    with store_errors(root):
        obstore.put(store, probe, b"")
        obstore.delete(store, probe)
    return f"{root} can be written"


def index(pipeline: Pipeline) -> Checks[None]:
    """The embedded index answers."""

    def look() -> str:
        names = pipeline.engines.index().collections()
        return f"{pipeline.settings.index} answers, with {len(names)} collections"

    yield Check("index", look)


def dagster(settings: Settings) -> str:
    """The Dagster instance opens."""
    from vector_assets.defs.instance import open_instance, prepare_home

    kept = prepare_home(settings)
    with open_instance(settings):
        return Remark(kept) if kept else f"the instance in {settings.dagster_home} opens"


def redaction(pipeline: Pipeline, policy: str) -> str:
    """A redactor works on a plain sentence."""
    (answer,) = pipeline.engines.redactor(policy).redact([_SAMPLE])
    if isinstance(answer, Exception):
        raise ConfigurationError(f"the redactor fails on plain English ({type(answer).__name__}): make install puts its packages right")
    models = [spec.model.rpartition("/")[2] for spec in pipeline.settings.tables.redaction[policy].models.values()]
    return f"works, with presidio-analyzer {version('presidio-analyzer')}, spaCy {version('spacy')} and {', '.join(dict.fromkeys(models))}"


def device(settings: Settings) -> str:
    """The processor or GPU that encodes."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return f"torch {torch.__version__} sees {name}" + ("; VECTOR_ASSETS_DEVICE=cpu leaves it alone" if settings.device == "cpu" else "")
    if settings.device == "cuda":
        raise ConfigurationError("VECTOR_ASSETS_DEVICE is cuda, and torch sees no GPU: check the driver, or set it to auto or cpu")
    return f"torch {torch.__version__} on the processor; there is no GPU"
