"""Real texts of about 45 tokens with names and e-mail addresses, the same on every run of one machine."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa


def texts(count: int) -> list[str]:
    """Debian package descriptions with their maintainers where apt has them, else sentences of Python's own help with made-up authors."""
    source = _debian() if shutil.which("apt-cache") else iter(())
    found = list(itertools.islice(source, count))
    return found if len(found) == count else list(itertools.islice(_pydoc(), count))


def _debian() -> Iterator[str]:
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=False).stdout
    for entry in listing.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Maintainer|Description|Homepage): (.*)$", entry, re.MULTILINE))
        if {"Package", "Maintainer", "Description"} <= fields.keys():
            text = f"{fields['Package']}: {fields['Description']}. Maintained by {fields['Maintainer']}. {fields.get('Homepage', '')}"
            text = text.strip()
            if 90 <= len(text) <= 190:
                yield text


def _pydoc() -> Iterator[str]:
    import pydoc_data.topics

    from faker import Faker

    faker = Faker("en_US")
    faker.seed_instance(7)
    sentences = [
        sentence
        for topic in pydoc_data.topics.topics.values()
        for sentence in re.split(r"(?<=\.)\s+", re.sub(r"\s+", " ", topic))
        if 60 <= len(sentence) <= 120
    ]
    for number in itertools.count():
        yield f"{sentences[number % len(sentences)]} Note {number}, by {faker.name()} <{faker.email()}>."


def database(path: Path, rows: list[str]) -> None:
    """A DuckDB file with `bench.texts (id, body, status)`."""
    import duckdb

    table = pa.table(
        {"id": list(range(len(rows))), "body": rows, "status": [("open", "closed")[number % 2] for number in range(len(rows))]}
    )
    with duckdb.connect(str(path)) as connection:
        connection.register("rows", table)
        connection.execute("create schema bench; create table bench.texts as select * from rows")
