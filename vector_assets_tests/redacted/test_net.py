"""The second net: what it must see, what it must leave alone, how long it may take."""

import ast
import base64
import hashlib
import time
from pathlib import Path
from pydoc_data import topics

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.redacted import net as module
from vector_assets.redacted.net import NAMED, Net, base58check, bech32, luhn, mod_97

EVERY = Net(NAMED)

# From the standards and the vendors' documentation, none of them anybody's.
PLANTED = [
    ("EMAIL_ADDRESS", "ada.okafor+news@mail.example.co.uk"),
    ("EMAIL_ADDRESS", "ADA@EXAMPLE.COM"),
    ("EMAIL_ADDRESS", "zoë@bücher.example"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "378282246310005"),
    ("CREDIT_CARD", "2223-0000-4841-0010"),
    ("CREDIT_CARD", "6011000990139424"),
    ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
    ("IBAN_CODE", "de89370400440532013000"),
    ("IBAN_CODE", "MT84MALT011000012345MTLCAST001S"),
    ("US_SSN", "536-22-1234"),
    ("PHONE_NUMBER", "+14155552671"),
    ("PHONE_NUMBER", "+44 20 7946 0958"),
    ("PHONE_NUMBER", "+49 (0) 171 234-5678"),
    ("IP_ADDRESS", "203.0.113.77"),
    ("IP_ADDRESS", "2a02:8071:22c3:1100:f5a1::17"),
    ("URL_CREDENTIALS", "https://ada:hunter22@db/x"),
    ("URL_CREDENTIALS", "https://example.org/?id=1&api_key=b81cd6e0f9a24c77"),
    ("API_KEY", "AKIAIOSFODNN7EXAMPLE"),
    ("API_KEY", "ghp_" + "a1B2" * 9),
    ("API_KEY", "xoxb-2345678901-abcdefGHIJKL"),
    ("API_KEY", "-----BEGIN RSA PRIVATE KEY-----"),
    ("CRYPTO", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("CRYPTO", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ("CRYPTO", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    ("CRYPTO", "0x52908400098527886E0F7030069857D2E4169EE7"),
]
LEFT_ALONE = [
    "<PERSON:12ab34:4111111111111111> wrote",  # a pseudonym of ours
    "order 4111 1111 1111 1112",  # not by Luhn
    "0000 0000 0000 0000",
    "ISBN 978-0-306-40615-7, EAN 4006381333931",
    "DE89 3704 0044 0532 0130 01",  # not modulo 97
    "version 1.2.3.4, v10.0.19041.1, section 3.4.5.6",
    "127.0.0.1 and 0.0.0.0 and ::1 and 224.0.0.1",
    "std::vector, dead::beef, 12:34:56, 00:1B:44:11:3A:B7",
    "1.2.3.4.5 and 300.1.2.3",
    "2024-01-02T03:04:05.123456789+00:00",
    "550e8400-e29b-41d4-a716-446655440000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "@decorator and user@host and a @ b and lodash@4.17.21",
    "$1,234,567.89 and 3.14159265358979 and 1e-1000000",
    "+1 2 3 4 and x+12345678901 and 5+49301234567",
    "123-45-6789 and 078-05-1120 and 000-12-3456 and 536-00-1234",
    "https://example.org:8080/path?page=2&sort=asc",
    "https://example.org/?token=<URL_CREDENTIALS>&next=1",
    "<EMAIL_ADDRESS> <PERSON:a1b2c3:0123456789abcdef> ************1234",
    "eyJ and AKIA and ghp_ and xox and 0x and bc1 and -----BEGIN CERTIFICATE-----",
    "eyJhbGciOiJ.eyJzdWIiOiI.not",
    "0x0000000000000000000000000000000000000000",
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",  # one character off
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
]

HUNDRED_KB = [
    *("a", "1", "1 ", "a@", "@a.", "eyJ", "://", "://a:", "1.1.", "a:", ":", "+1", "+1(2)", "0x", "-----BEGIN ", "DE89 ", "DE89", "bc1q"),
    *(
        "1A",
        "xox-",
        "xoxb-",
        "?password=",
        "4111-",
        "123-45-",
        "v 1.2.3.4 ",
        "abcd:",
        "1.2.3.4 ",
        "@a-",
        "é@",
        "\u200b",
        "3" * 34 + " ",
        "&",
    ),
    *("DE89a-", "fe80:", "ghp_", "a.", "=", "+49 (", "eyJaaaaaaaa.", "eyJaaaaaaaa.eyJbbbbbbbb."),
]


def jwt() -> str:
    parts = (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890"}', b"0123456789abcdef0123456789abcdef")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(("entity", "value"), [*PLANTED, ("API_KEY", jwt())])
@pytest.mark.parametrize(
    "frame", ["{}", "see {}.", "({})", "a, {}, b", 'x="{}"', "<td>{}</td>", "first line\n{}\nlast line", "naïve – {} ü"]
)
def test_what_it_sees(entity: str, value: str, frame: str) -> None:
    assert EVERY.entities(frame.format(value)) == {entity}
    assert Net(NAMED - {entity}).entities(frame.format(value)) == set()
    assert Net(NAMED, [value.upper()]).entities(frame.format(value)) <= ({entity} if "://" in value else set())


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_it_leaves_alone(text: str) -> None:
    assert EVERY.entities(text) == set()


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\ufeff", "\xad", "\U000e0041", "\u202e"])
@pytest.mark.parametrize(("entity", "value"), PLANTED)
def test_hidden_characters_hide_nothing(entity: str, value: str, hidden: str) -> None:
    assert EVERY.entities(f"see {hidden.join(value)} here") == {entity}


@pytest.mark.parametrize("zero", [0xFF10, 0x660, 0x6F0, 0x966, 0x1D7CE])
def test_digits_of_other_scripts_are_digits(zero: int) -> None:
    table = {0x30 + digit: zero + digit for digit in range(10)}
    for entity in ("CREDIT_CARD", "US_SSN", "PHONE_NUMBER"):
        values = [value for named, value in PLANTED if named == entity]
        assert all(EVERY.entities(value.translate(table)) == {entity} for value in values)


def test_entities_that_it_does_not_know_are_none_of_its_business() -> None:
    net = Net(["PERSON", "LOCATION", "EMPLOYEE_NUMBER"])
    assert all(net.entities(value) == set() for _, value in PLANTED)


@given(st.lists(st.one_of(st.sampled_from([*HUNDRED_KB, *(value for _, value in PLANTED), jwt(), *jwt().split(".")]), st.text(max_size=5))))
def test_no_text_upsets_it(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert EVERY.entities(text) <= NAMED
    assert EVERY.entities(f"ada@example.com {text}") >= {"EMAIL_ADDRESS"}  # whatever stands beside it


# --- checksums, from their definitions -------------------------------------------------------------------------------------------------


@given(st.text("0123456789", min_size=12, max_size=14), st.integers(1, 9))
def test_one_wrong_digit_is_no_card(body: str, off: int) -> None:
    number = "4" + (body + "0" * 14)[:14]
    [check] = [digit for digit in range(10) if luhn(f"{number}{digit}")]
    assert not luhn(f"{number}{(check + off) % 10}")
    found = EVERY.entities(f"card {number}{check} given")
    assert found == {"CREDIT_CARD"}
    assert EVERY.entities(f"card {number}{(check + off) % 10} given") == set()


@given(st.sampled_from(["NL18ABNA", "FR27", "NO15", "PL28"]), st.integers(0, 10**23 - 1), st.integers(1, 95), st.sampled_from(["", " "]))
def test_one_wrong_check_is_no_iban(country: str, account: int, off: int, separator: str) -> None:
    length, bank = int(country[2:4]), country[4:]
    bban = bank + str(account).zfill(26)[-(length - 4 - len(bank)) :]
    check = 98 - int("".join(str(int(each, 36)) for each in f"{bban}{country[:2]}00")) % 97
    iban = f"{country[:2]}{check:02}{bban}"
    assert mod_97(iban)
    wrong = f"{country[:2]}{(check - 2 + off) % 97 + 2:02}{bban}"
    assert not mod_97(wrong)
    written = separator.join(iban[at : at + 4] for at in range(0, len(iban), 4))
    assert "IBAN_CODE" in EVERY.entities(f"pay to {written} soon")
    assert "IBAN_CODE" not in EVERY.entities(f"pay to {wrong} soon")


@given(st.binary(min_size=20, max_size=20), st.sampled_from([0, 5]))
def test_legacy_coins(payload: bytes, version: int) -> None:
    data = bytes([version]) + payload
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number, address = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        address = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + address
    address = "1" * (len(data) - len(data.lstrip(b"\0"))) + address
    assert base58check(address)
    assert not base58check(address[:-1] + ("2" if address[-1] != "2" else "3"))
    if len(address) >= 26:
        assert EVERY.entities(address) == {"CRYPTO"}


def test_published_vectors() -> None:
    # BIP 173 and BIP 350
    assert all(bech32(each) for each in ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "bc1sw50qgdz25j"))
    assert not any(bech32(each) for each in ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "bc1sw50qgdz25q"))


def test_every_calling_code() -> None:
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        number = "+12125550123" if code == 1 else f"+{code}2345678"
        assert EVERY.entities(f"call {number} now") == {"PHONE_NUMBER"}, code
    assert all(EVERY.entities(f"call +{code}2345678 now") == set() for code in ("999", "210", "800 80"[:2] + "9"))


# --- what it costs ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", HUNDRED_KB)
def test_time_grows_with_the_length(unit: str) -> None:
    text = (unit * (100_000 // len(unit) + 1))[:100_000]
    for adversarial in (text, f"x{text}@", f"{text}@b.example"):
        started = time.process_time()
        EVERY.entities(adversarial)
        assert time.process_time() - started < 1  # 0.05 s measured; quadratic ones take minutes


def test_help_texts_of_python_are_clean() -> None:
    assert {name for name, text in topics.topics.items() if EVERY.entities(text)} == set()


def test_it_is_another_detector() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any((name or "").startswith("vector_assets") for name in imported)
