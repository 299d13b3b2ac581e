"""What a text is like: language, tags, keyword stuffing."""

import importlib.metadata
import inspect
import json
import logging
import random
import tarfile
import textwrap
from pydoc_data import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.redacted.texts import LANGUAGES, UNDETERMINED, is_stuffed, language_of, profile

KEYWORDS = ["cheap", "pills", "online", "pharmacy", "discount", "order", "best", "price", "casino", "bonus", "free", "money"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The printer on the second floor does not answer any more since this morning."),
        ("de", "Der Drucker im zweiten Stock antwortet seit heute Morgen nicht mehr."),
        ("fr", "L'imprimante du deuxième étage ne répond plus depuis ce matin."),
        ("es", "La impresora del segundo piso no responde desde esta mañana."),
        ("pl", "Drukarka na drugim piętrze nie odpowiada od dzisiejszego ranka."),
        ("ru", "Принтер на втором этаже не отвечает с сегодняшнего утра."),
        ("ja", "二階のプリンターは今朝から応答していません。"),
        ("zh", "二楼的打印机从今天早上开始就没有反应了。"),
        ("ar", "الطابعة في الطابق الثاني لا تستجيب منذ هذا الصباح."),
        (UNDETERMINED, "OK, thanks!"),
        (UNDETERMINED, ""),
        (UNDETERMINED, "2024-01-02 12:00:00 +49 30 1234567 <<<>>> --- 4711"),
    ],
)
def test_language(language: str, text: str) -> None:
    assert language_of(text) == language


def test_tags_are_no_words() -> None:
    entities = ("EMAIL_ADDRESS", "PERSON")
    text = "<PERSON> wrote to <EMAIL_ADDRESS> and <PERSON:a1b2c3:0123456789abcdef>, in <TABLE> and <JOHN_SMITH>"
    assert profile(text, entities).entities == "EMAIL_ADDRESS,PERSON"  # only names of the policy: others are the text's own words
    assert profile("<PERSON>, <EMAIL_ADDRESS>; " * 200, entities) == (UNDETERMINED, "EMAIL_ADDRESS,PERSON", False)
    assert profile("no tags here", entities).entities == ""


@given(st.text())
def test_any_text_has_a_profile(text: str) -> None:
    made = profile(text, ("PERSON",))
    assert made.language in (*LANGUAGES, UNDETERMINED)
    assert made == profile(text, ("PERSON",))


# --- keyword stuffing ------------------------------------------------------------------------------------------------------------------


def stuffed(words: int, count: int, *, separator: str = " ") -> str:
    return separator.join(random.Random(words).choices(KEYWORDS[:words], k=count))


@pytest.mark.parametrize(
    "text",
    [
        "buy cheap pills online " * 30,
        stuffed(1, 60),
        stuffed(5, 200),
        stuffed(8, 120),
        stuffed(12, 300),
        stuffed(8, 150, separator=", "),
        stuffed(6, 150, separator="\n"),
        stuffed(6, 100).upper(),
        topics.topics["yield"] + "\n\n" + stuffed(6, 120) + "\n\n" + topics.topics["lambda"],  # hidden inside
    ],
)
def test_stuffed(text: str) -> None:
    assert is_stuffed(text)


def clean() -> dict[str, str]:
    """Long and repetitive, and nobody's attack."""
    made = {f"topic {name}": text for name, text in topics.topics.items()}
    for distribution in importlib.metadata.distributions():
        about = distribution.metadata
        made[f"package {about['Name']}"] = str(about.get("Description") or about.get_payload())
    made |= {f"module {module.__name__}": inspect.getsource(module) for module in (inspect, json, logging, random, tarfile, textwrap)}
    draw = random.Random(1)
    made["log"] = "\n".join(f"2024-01-{at % 28 + 1:02} 12:{at % 60:02}:{at * 7 % 60:02} INFO heartbeat received" for at in range(200))
    made["log of one process"] = "\n".join(f"[{at}] worker {at % 4} finished job {at * 13} in {at * 7 % 90} ms" for at in range(200))
    made["table"] = "\n".join(f"| row {at} | {draw.choice(['yes', 'no'])} | {draw.choice(['true', 'false'])} |" for at in range(100))
    made["checklist"] = "\n".join(f"- [ ] check server {at}" for at in range(60))
    made["list"] = "\n".join(f"* item number {at}: ready" for at in range(100))
    made["json"] = json.dumps([{"name": f"n{at}", "enabled": True, "value": at} for at in range(100)])
    made["short"] = "Thanks, thanks, thanks! " * 8
    return made


def test_clean_texts_are_not_stuffed() -> None:
    texts = clean()
    assert len(texts) > 200
    assert [name for name, text in texts.items() if is_stuffed(text)] == []
