"""Values for the templates: people, places and companies of several countries (Faker), and identifiers the way people write them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vector_assets.evaluation.identifiers import Identifiers
from vector_assets.evaluation.labelled import Piece

if TYPE_CHECKING:
    from faker import Faker

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "sv_SE", "pt_BR")
# Faker keeps Italy's in a set, whose order is another one in every process.
ITALIAN_CITIES = ("Bari", "Bologna", "Catania", "Firenze", "Genova", "Lecce", "Milano", "Napoli", "Padova", "Perugia", "Pisa", "Torino")
WORD_NAMES = (
    "Mark Baker", "Will Young", "Rose Park", "Paris Hilton", "Summer Banks", "Grant Wood", "Hope Fielding", "Art Cook",
    "Joy Rivers", "Bill Price", "Faith Hill", "Chase Winter", "Dawn French", "Frank Stone", "Grace Bishop", "Jack Frost",
    "Victoria Wood", "Sandy Fields", "Max Power", "Charity Cross", "Drew Marks", "Jordan Rivers", "Chelsea Walker",
    "Austin Powers", "Dean Church", "Gene Page", "Lance Ball", "Miles Long", "Robin Banks", "Pat Black", "Ray Day",
    "Rusty Carr", "Skip Rose", "Bob Cash", "Carol King", "Iris Bloom", "Ivy Green", "Ruby Gold",
)  # fmt: skip


class People:
    """Draws values by the name of a placeholder. The same seed gives the same values with the same version of Faker."""

    def __init__(self, seed: int) -> None:
        from faker import Faker

        self._chance = random.Random(seed)  # noqa: S311  made-up data
        self._identifiers = Identifiers(self._chance)
        self._fakers = {locale: Faker(locale) for locale in LOCALES}
        for place, faker in enumerate(self._fakers.values()):
            faker.seed_instance(seed + place)
        self._makers: Mapping[str, Callable[[Faker], list[Piece]]] = {
            "PERSON": lambda faker: [Piece(f"{faker.first_name()} {faker.last_name()}", "PERSON")],
            "WORD_NAME": lambda _: [Piece(self._chance.choice(WORD_NAMES), "PERSON")],
            "LOCATION": lambda faker: [Piece(self._city(faker), "LOCATION")],
            "ORGANIZATION": lambda faker: [Piece(faker.company(), "ORGANIZATION")],
            "EMAIL_ADDRESS": lambda faker: [Piece(self._mail(faker), "EMAIL_ADDRESS")],
            "SPELT_MAIL": lambda faker: [Piece(self._spelt_mail(faker), "EMAIL_ADDRESS")],
            "PHONE_NUMBER": lambda faker: [Piece(faker.phone_number(), "PHONE_NUMBER")],
            "CREDIT_CARD": lambda _: [Piece(self._card(), "CREDIT_CARD")],
            "IBAN_CODE": lambda faker: [Piece(self._iban(faker), "IBAN_CODE")],
            "US_SSN": lambda _: [Piece(self._chance.choice("--. ").join(self._identifiers.ssn()), "US_SSN")],
            "PLAIN_SSN": lambda _: [Piece("".join(self._identifiers.ssn()), "US_SSN")],
            "IP_ADDRESS": lambda _: [Piece(self._identifiers.address(), "IP_ADDRESS")],
            "IP_ADDRESS4": lambda faker: [Piece(faker.ipv4(), "IP_ADDRESS")],
            "API_KEY": lambda _: [Piece(self._identifiers.key(), "API_KEY")],
            "PEM": lambda _: [Piece(self._identifiers.pem(), "API_KEY")],
            "SECRET": lambda _: [Piece(self._identifiers.secret(), "API_KEY")],
            "PASSWORD": lambda _: [Piece(self._identifiers.password(), "API_KEY")],
            "CRYPTO": lambda _: [Piece(self._identifiers.coin(), "CRYPTO")],
            "LOGIN": lambda faker: [Piece(f"{faker.user_name()}:{self._identifiers.password()}", "URL_CREDENTIALS")],
            "TOKEN": lambda _: [Piece(self._identifiers.secret(), "URL_CREDENTIALS")],
            "HOST": lambda faker: [Piece(faker.domain_name())],
        }

    def drawn(self, placeholder: str) -> list[Piece]:
        """A value for a placeholder, of any locale. KeyError for a placeholder that there is not."""
        return self._makers[placeholder](self._fakers[self._chance.choice(LOCALES)])

    def _city(self, faker: Faker) -> str:
        return self._chance.choice(ITALIAN_CITIES) if faker.locales == ["it_IT"] else faker.city()

    def _mail(self, faker: Faker) -> str:
        mail = self._chance.choice([faker.email, faker.company_email, faker.ascii_free_email, faker.email])()
        tag = self._chance.choice(["", "", "", "+" + faker.word().lower()])
        name, _, host = mail.partition("@")
        return f"{name}{tag if tag.isascii() else ''}@{host}"

    def _spelt_mail(self, faker: Faker) -> str:
        name, _, host = faker.ascii_email().partition("@")
        at = self._chance.choice([" [at] ", "[at]", "(at)", " (at) ", " {at} ", " @ ", " AT "])
        dot = self._chance.choice([" dot ", "[dot]", "(dot)", " (dot) "])
        return f"{name}{at}{host}" if at == " @ " else f"{name}{at}{host.replace('.', dot if at != ' AT ' else ' DOT ')}"

    def _card(self) -> str:
        digits = self._identifiers.card()
        sizes = (4, 6, 5) if len(digits) == 15 else (4, 6, 4) if len(digits) == 14 else (4, 4, 4, 4, 3)
        separator = self._chance.choice(["", "", " ", " ", "-", "."])
        if not separator or len(digits) not in (14, 15, 16, 19):
            return digits
        groups, place = [], 0
        for size in sizes:
            groups.append(digits[place : place + size])
            place += size
        return separator.join(filter(None, groups))

    def _iban(self, faker: Faker) -> str:
        iban = faker.iban()
        separator = self._chance.choice(["", "", " ", " ", "-"])
        grouped = separator.join(iban[at : at + 4] for at in range(0, len(iban), 4))
        return grouped.lower() if self._chance.random() < 0.2 else grouped
