"""sources.yaml as it lies there: variables replaced, relative paths anchored, and the first mistake said in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from vector_assets.catalogs import Catalog
from vector_assets.errors import ConfigurationError
from vector_assets.tables import Sources

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_sources(path: Path, variables: Mapping[str, str]) -> Sources:
    """Read and validate sources.yaml. `${VAR}` in a value is replaced from `variables`; a relative path counts from the file.

    `redaction:` may name a YAML file of policies, by name; `${VAR}` and relative paths in it work alike.

    Raises ConfigurationError, naming the file, the place and the remedy.
    """
    raw = _expand(_yaml(path, "`vector-assets init` writes a commented one"), variables, path)
    policies = path
    if isinstance(raw, dict) and isinstance(raw.get("redaction"), str):
        policies = path.parent / raw["redaction"]
        raw |= {"redaction": _expand(_yaml(policies, f"redaction: in {path} names it"), variables, policies)}
    try:
        sources = Sources.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(_first_problem(error, path, policies)) from None
    return sources.model_copy(
        update={
            "catalogs": {name: _anchored(catalog, path.parent) for name, catalog in sources.catalogs.items()},
            "redaction": {name: policy.anchored(policies.parent) for name, policy in sources.redaction.items()},
        }
    )


def _yaml(path: Path, remedy: str) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {path}: {remedy}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML: {error}") from error


def _anchored(catalog: Catalog, folder: Path) -> Catalog:
    paths = {name: folder / value for name, value in catalog if isinstance(value, Path)}
    return catalog.model_copy(update=paths)


def _expand(value: object, variables: Mapping[str, str], path: Path) -> object:
    if isinstance(value, dict):
        return {key: _expand(item, variables, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, variables, path) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match.group(1) not in variables:
            raise ConfigurationError(f"{path} uses ${{{match.group(1)}}}, which is not set: set the variable, or remove it from the file")
        return variables[match.group(1)]

    return _VARIABLE.sub(replace, value)


def _first_problem(error: ValidationError, path: Path, policies: Path) -> str:
    # A name that does not exist comes first: it is the likely cause of one that is missing.
    problem = min(error.errors(include_url=False, include_input=False), key=lambda problem: problem["type"] != "extra_forbidden")
    loc = [str(part) for part in problem["loc"]]
    if loc[:1] == ["catalogs"]:
        del loc[2:3]  # the engine, which pydantic puts in between
    if loc[:1] == ["redaction"] and policies != path:
        path, loc = policies, loc[1:]
    place = ".".join(loc)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "no such setting; check the spelling"
    more = error.error_count() - 1
    return f"{path}: {place + ': ' if place else ''}{message}" + (f" (and {more} more)" if more else "")
