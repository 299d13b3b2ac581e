"""Made-up texts with personal data whose every occurrence is known: sentences from phrases.yaml, people from Faker.

Text n of a seed depends on the seed and n only, so a longer table starts like a shorter one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from faker import Faker

# Placeholders that stand for personal data, and the entity (in Presidio's names) that they are labelled with.
ENTITIES = {
    "ADDRESS": "LOCATION",
    "COLLEAGUE": "PERSON",
    "COLLEAGUE_EMAIL": "EMAIL_ADDRESS",
    "CREDIT_CARD": "CREDIT_CARD",
    "EMAIL_ADDRESS": "EMAIL_ADDRESS",
    "FIRST_NAME": "PERSON",
    "IBAN_CODE": "IBAN_CODE",
    "IP_ADDRESS": "IP_ADDRESS",
    "LOCATION": "LOCATION",
    "PERSON": "PERSON",
    "PHONE_NUMBER": "PHONE_NUMBER",
    "URL": "URL",
    "US_SSN": "US_SSN",
}
FIRST_TICKET_AT = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)
SHARE_WITH_NOTES = 0.4

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Span(NamedTuple):
    """Where personal data stands in a text: characters `start` to `end`, the latter not included."""

    entity: str
    start: int
    end: int


class Labelled(NamedTuple):
    """A text and the personal data in it, in order of appearance."""

    text: str
    spans: tuple[Span, ...]


class Ticket(NamedTuple):
    """One support ticket. `customer` is personal data as a whole."""

    ticket_id: int
    topic: str
    subject: Labelled
    body: Labelled
    status: str
    priority: int
    created_at: datetime
    customer: str
    notes: Labelled | None


class PhraseBook:
    """Writes the sample's texts for one seed. Loads Faker."""

    def __init__(self, seed: int) -> None:
        from faker import Faker

        self._seed = seed
        self._fake: Faker = Faker("en_US")
        self._phrases = yaml.safe_load(resources.files("vector_assets.demo").joinpath("phrases.yaml").read_text(encoding="utf-8"))

    def ticket(self, number: int) -> Ticket:
        """Ticket `number`, counted from 1."""
        values = self._start_over(f"ticket {number}")
        topic = self._pick([*self._phrases["topics"]])
        own = self._phrases["topics"][topic]
        middle = [self._pick(own["details"]), self._pick(self._phrases["impacts"]), self._pick(self._phrases["contacts"])]
        self._fake.random.shuffle(middle)
        sentences = [self._pick(own["problems"]), *middle, self._pick(own["asks"])]
        paragraphs = [self._pick(self._phrases["greetings"]), " ".join(filter(None, sentences)), self._pick(self._phrases["closings"])]
        with_notes = self._fake.random.random() < SHARE_WITH_NOTES
        return Ticket(
            ticket_id=number,
            topic=topic,
            subject=fill(self._pick(own["subjects"]), values),
            body=fill("\n\n".join(filter(None, paragraphs)), values),
            status=self._pick(["open", "open", "pending", "closed", "closed"]),
            priority=self._fake.random.randint(1, 4),
            created_at=FIRST_TICKET_AT + timedelta(minutes=37 * number),
            customer=values["EMAIL_ADDRESS"],
            notes=fill(self._pick(self._phrases["notes"]), values) if with_notes else None,
        )

    def followup(self, number: int, body: str) -> Labelled:
        """What a customer adds to ticket `number`: the longer body, and the spans that the addition brings."""
        values = self._start_over(f"followup {number}")
        added = fill(self._pick(self._phrases["followups"]), values)
        offset = len(body) + 2
        return Labelled(f"{body}\n\n{added.text}", tuple(Span(s.entity, s.start + offset, s.end + offset) for s in added.spans))

    def account_note(self, number: int) -> tuple[str, str]:
        """An HTML note and its author."""
        values = self._start_over(f"note {number}")
        paragraphs = self._fake.random.sample(self._phrases["account_notes"], k=self._fake.random.randint(1, 3))
        return fill("\n".join(paragraphs), values).text, self._fake.name()

    def accounts(self, count: int) -> list[str]:
        """Names of companies, all different."""
        self._start_over("accounts")
        return sorted(self._fake.unique.company() for _ in range(count))

    def choose(self, numbers: list[int], count: int) -> list[int]:
        """`count` of the numbers, at random, each at most once."""
        self._start_over("choose")
        chosen: list[int] = self._fake.random.sample(numbers, k=count)
        return chosen

    def _pick(self, choices: list[str]) -> str:
        choice: str = self._fake.random.choice(choices)
        return choice

    def _start_over(self, what: str) -> dict[str, str]:
        """Seed for one text, and return a value for every placeholder."""
        fake = self._fake
        fake.seed_instance(f"{self._seed} {what}")
        first, last, colleague, other = fake.first_name(), fake.last_name(), fake.first_name(), fake.last_name()
        words = {name: self._pick(choices) for name, choices in self._phrases["words"].items()}
        return words | {
            "ADDRESS": fake.street_address(),
            "COLLEAGUE": f"{colleague} {other}",
            "COLLEAGUE_EMAIL": f"{colleague}.{other}@example.org".lower(),
            "CREDIT_CARD": fake.credit_card_number(card_type="visa16"),
            "EMAIL_ADDRESS": f"{first}.{last}@{self._pick(['example.com', 'example.net'])}".lower(),
            "FIRST_NAME": first,
            "IBAN_CODE": fake.iban(),
            "IP_ADDRESS": fake.ipv4_public(),
            "LOCATION": self._pick(self._phrases["cities"]),
            "PERSON": f"{first} {last}",
            "PHONE_NUMBER": fake.numerify(self._pick(["(212) 555-01##", "312-555-01##", "+1 415 555 01##", "206.555.01##"])),
            "URL": f"https://photos.example.com/{last.lower()}/{fake.random.randint(100, 999)}",
            "US_SSN": fake.ssn(),
            "amount": f"${fake.random.randint(9, 980)}.{self._pick(['00', '50', '90', '99'])}",
            "days": str(fake.random.randint(2, 21)),
            "order": str(fake.random.randint(10_000, 99_999)),
        }


def fill(template: str, values: dict[str, str]) -> Labelled:
    """Put values in place of `{name}`, remembering where those that are personal data went."""
    text, spans, position = "", [], 0
    for match in _PLACEHOLDER.finditer(template):
        text += template[position : match.start()]
        name, position = match.group(1), match.end()
        value = values[name]
        if name in ENTITIES:
            spans.append(Span(ENTITIES[name], len(text), len(text) + len(value)))
        text += value
    return Labelled(text + template[position:], tuple(spans))
