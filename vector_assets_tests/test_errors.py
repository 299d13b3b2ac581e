"""What is told of an error that nobody foresaw."""

from __future__ import annotations

from pathlib import Path

import pytest

from vector_assets.errors import ConfigurationError, PermanentError, UnexpectedError
from vector_assets.settings import Settings

VALUE = "Ada Lovelace"


def quoting(depth: int) -> Exception:
    """An error that quotes a row, and so does each of its causes."""
    try:
        try:
            if depth:
                raise quoting(depth - 1)
            raise ConfigurationError(VALUE)
        except Exception as error:
            raise ValueError(f"could not convert {VALUE!r} to double") from error
    except ValueError as error:
        return error


def test_type_and_frames_are_told_and_no_word_of_it() -> None:
    error = UnexpectedError(quoting(2))
    assert "unexpected ValueError outside this package" in str(error)
    assert error.traceback.count("ConfigurationError") == 1
    assert error.traceback.count("ValueError") == 3
    assert f"{__file__}:" in error.traceback
    assert VALUE not in f"{error} {error!r} {error.traceback} {vars(error)}"
    assert isinstance(error, PermanentError)


def test_the_place_is_the_innermost_line_of_ours(tmp_path: Path) -> None:
    broken = Settings(home=tmp_path).model_copy(update={"private_credentials_file": "no Path"})
    with pytest.raises(AttributeError) as caught:
        broken.private_credentials()
    assert "at vector_assets/settings.py:" in str(UnexpectedError(caught.value))


def test_errors_that_are_each_others_causes_end() -> None:
    first, second = ValueError(VALUE), KeyError(VALUE)
    first.__cause__, second.__cause__ = second, first
    assert UnexpectedError(first).traceback == "KeyError\nValueError"
