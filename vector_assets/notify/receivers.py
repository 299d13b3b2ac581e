"""Who is told: receivers of the environment and of sources.yaml, with their secrets read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from vector_assets.errors import ConfigurationError
from vector_assets.notify.formats import PAGERDUTY_URL
from vector_assets.notify.post import checked_url
from vector_assets.settings import PREFIX, Settings
from vector_assets.tables import MessageFormat, ReceiverSpec, Sources

FROM_ENVIRONMENT = "webhook"


@dataclass(frozen=True)
class Receiver:
    """An address to post to. Address and key are secrets: whoever has them can post too."""

    name: str
    format: MessageFormat
    url: SecretStr
    key: SecretStr


class Found(NamedTuple):
    """Receivers that can be posted to, the names of all that are configured, and why some of them cannot be."""

    receivers: list[Receiver]
    names: list[str]
    problems: list[str]


def configured(settings: Settings, sources: Sources | None) -> Found:
    """The receiver of VECTOR_ASSETS_WEBHOOK_…, and those under `notifications:`, whose relative files count from sources.yaml. One that
    cannot be posted to keeps no other from it."""
    found = Found([], [], [])
    if _is_in_environment(settings):
        form, url, key = settings.webhook_format, settings.webhook_url, settings.webhook_key
        spec = ReceiverSpec.model_construct(
            name=FROM_ENVIRONMENT, format=form, url=url, url_file=settings.webhook_url_file, key=key, key_file=settings.webhook_key_file
        )
        _add(found, spec, Path(), f"{PREFIX}WEBHOOK_URL", f"{PREFIX}WEBHOOK_KEY")
    for spec in sources.notifications if sources is not None else ():
        _add(found, spec, settings.sources.parent, f"notifications.{spec.name}.url", f"notifications.{spec.name}.key")
    return found


def _add(found: Found, spec: ReceiverSpec, folder: Path, url_name: str, key_name: str) -> None:
    found.names.append(spec.name)
    try:
        url = _secret(spec.url, spec.url_file and folder / spec.url_file, url_name)
        key = _secret(spec.key, spec.key_file and folder / spec.key_file, key_name)
        if spec.format == "pagerduty" and key is None:
            raise ConfigurationError(f"{key_name}: PagerDuty wants the routing key of an integration")
        address = url.get_secret_value() if url is not None else PAGERDUTY_URL if spec.format == "pagerduty" else ""
        found.receivers.append(Receiver(spec.name, spec.format, SecretStr(checked_url(address, url_name)), key or SecretStr("")))
    except ConfigurationError as error:
        found.problems.append(str(error))


def is_configured(settings: Settings) -> bool:
    """Whether anybody is to be told. Reads sources.yaml, and no secret file."""
    if _is_in_environment(settings):
        return True
    try:
        return bool(settings.tables.notifications)
    except ConfigurationError:
        return False


def _is_in_environment(settings: Settings) -> bool:
    return any((settings.webhook_url, settings.webhook_url_file, settings.webhook_key, settings.webhook_key_file))


def _secret(value: SecretStr | None, path: Path | None, name: str) -> SecretStr | None:
    if value is not None or path is None:
        return value
    try:
        return SecretStr(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{name}: {path} cannot be read ({said}): make it readable, or name another file") from None
