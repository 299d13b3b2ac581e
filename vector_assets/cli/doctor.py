"""`vector-assets doctor`: is everything there that a sync needs? One line per check, with the remedy where it is not."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.text import Text

from vector_assets.cli.console import stderr, stdout
from vector_assets.cli.session import opened
from vector_assets.errors import ConfigurationError, IndexConflict, VectorAssetsError

if TYPE_CHECKING:
    from vector_assets.pipeline import Pipeline
    from vector_assets.settings import Settings
    from vector_assets.tables import Sources

_SAMPLE = "Ada Lovelace wrote to ada@example.org."


class Remark(str):
    """Found, usable, and worth a look."""

    __slots__ = ()


class Check(NamedTuple):
    """One question. `look` answers with what it found, or raises VectorAssetsError with the remedy."""

    name: str
    look: Callable[[], str]


def doctor(context: typer.Context) -> None:
    """Check settings, sources, secret, models, storage, index, Dagster, redaction and device. Exit status 1 where one fails."""
    failed = 0
    with opened(context) as pipeline:
        for check in checks(pipeline):
            try:
                with stderr().status(Text(check.name)):
                    found = check.look()
                mark, style = ("!", "yellow") if isinstance(found, Remark) else ("✓", "green")
            except VectorAssetsError as error:
                failed += 1
                found, mark, style = str(error), "✗", "bold red"
            stdout().print(Text.assemble((f"{mark} ", style), (f"{check.name}: ", "bold"), found), soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def checks(pipeline: Pipeline) -> Iterator[Check]:
    """Every check that makes sense after those before it."""
    settings = pipeline.settings
    yield Check("settings", lambda: f"home {settings.home.absolute()}, device {settings.device}")
    yield Check("sources", lambda: _sources(settings))
    try:
        sources = settings.tables
    except ConfigurationError:
        sources = None
    if sources is not None:
        yield Check("secret", lambda: _secret(settings, sources))
        yield from _source_checks(pipeline, sources)
    yield Check("model", lambda: _model(pipeline))
    yield Check("storage", lambda: _writable(settings.storage))
    yield Check("private storage", lambda: _writable(settings.private))
    yield Check("index", lambda: _index(pipeline))
    yield Check("dagster", lambda: _dagster(settings))
    if sources is not None:
        for policy in sorted({spec.redaction for spec in sources.tables}):
            yield Check(f"redaction {policy}", lambda policy=policy: _redaction(pipeline, policy))  # type: ignore[misc]
    yield Check("device", lambda: _device(pipeline))


def _sources(settings: Settings) -> str:
    sources = settings.tables
    return f"{settings.sources}: {len(sources.catalogs)} catalogs, {len(sources.tables)} entries under tables"


def _secret(settings: Settings, sources: Sources) -> str:
    needed = settings.keyed_row_ids or any(prop.policy == "hash" for spec in sources.tables for prop in spec.properties.values())
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


def _source_checks(pipeline: Pipeline, sources: Sources) -> Iterator[Check]:
    for catalog in sources.catalogs:
        yield Check(f"catalog {catalog}", lambda catalog=catalog: _catalog(pipeline, catalog))  # type: ignore[misc]
    yield Check("tables", lambda: _tables(pipeline))


def _catalog(pipeline: Pipeline, catalog: str) -> str:
    from vector_assets.tables import encode_part

    found = pipeline.engines.source(catalog).tables(f"{encode_part(catalog)}.*.*")
    return f"answers, with {len(found)} tables"


def _tables(pipeline: Pipeline) -> str:
    """Every table that would be synced has its columns, of types that can be read."""
    from vector_assets.cli.selection import find

    found = find(pipeline)
    problems = [str(problem) for problem in found.problems.values()]
    for ref in found.tables:
        spec = pipeline.settings.tables.spec_for(ref)
        try:
            with pipeline.engines.source(ref.catalog).open(ref, spec.columns, spec.key):
                pass
        except VectorAssetsError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("; ".join(dict.fromkeys(problems)))
    return f"{len(found.tables)} tables, each with the columns that {pipeline.settings.sources} names"


def _model(pipeline: Pipeline) -> str:
    champion = pipeline.engines.champion()
    encoder = pipeline.engines.encoder(champion)  # its files are compared with what was registered
    dimension = len(encoder.encode_query(_SAMPLE))
    if dimension != champion.dimension:
        raise IndexConflict(f"the champion makes vectors of {dimension} and is registered with {champion.dimension}: register it again")
    return f"champion is version {champion.version}, {dimension} dimensions, its files are what was registered"


def _writable(root: str) -> str:
    import uuid

    import obstore

    from vector_assets.reconcile.store import open_store, store_errors

    store, probe = open_store(root), f".probe-{uuid.uuid4().hex}"
    with store_errors(root):
        obstore.put(store, probe, b"")
        obstore.delete(store, probe)
    return f"{root} can be written"


def _index(pipeline: Pipeline) -> str:
    names = pipeline.engines.index().collections()
    place = pipeline.settings.weaviate_url or pipeline.settings.index
    return f"{place} answers, with {len(names)} collections"


def _dagster(settings: Settings) -> str:
    from vector_assets.defs.instance import open_instance, prepare_home

    kept = prepare_home(settings)
    with open_instance(settings):
        return Remark(kept) if kept else f"the instance in {settings.dagster_home} opens"


def _redaction(pipeline: Pipeline, policy: str) -> str:
    (answer,) = pipeline.engines.redactor(policy).redact([_SAMPLE])
    if isinstance(answer, Exception):
        raise ConfigurationError(f"the redactor fails on plain English ({type(answer).__name__}): make install puts its packages right")
    model = pipeline.settings.tables.redaction[policy].nlp_model
    return f"works, with presidio-analyzer {version('presidio-analyzer')}, spaCy {version('spacy')} and {model}"


def _device(pipeline: Pipeline) -> str:
    import torch

    wanted = pipeline.settings.device
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return f"torch {torch.__version__} sees {name}" + ("; VECTOR_ASSETS_DEVICE=cpu leaves it alone" if wanted == "cpu" else "")
    if wanted == "cuda":
        raise ConfigurationError("VECTOR_ASSETS_DEVICE is cuda, and torch sees no GPU: check the driver, or set it to auto or cpu")
    return f"torch {torch.__version__} on the processor; there is no GPU"
