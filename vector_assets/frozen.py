"""What every part of sources.yaml is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of sources.yaml: it does not change, has no settings that are not known, and its errors do not quote what may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
