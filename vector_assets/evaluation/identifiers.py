"""Made-up identifiers that are formally right, made from their definitions and not from the patterns that look for them.

Nothing here is secret: `random.Random` with a seed, so that a set of texts is the same on every machine.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import random
import string

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_WORD = string.ascii_letters + string.digits
_URL_SAFE = _WORD + "-_"
_HEX = string.digits + "abcdef"
_UPPER = string.ascii_uppercase + string.digits

# Leading digits and length: Visa, Mastercard (both series), American Express, Discover, Diners Club, JCB, UnionPay, Maestro.
CARD_NETWORKS = (
    ("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("644", 16),
    ("65", 16), ("36", 14), ("300", 14), ("3528", 16), ("3589", 16), ("62", 16), ("62", 19), ("6304", 16), ("6759", 18),
)  # fmt: skip
# Prefix, alphabet and number of characters behind it, as the issuers document their tokens.
KEY_FORMS = (
    ("AKIA", _UPPER, 16), ("ASIA", _UPPER, 16), ("ghp_", _WORD, 36), ("gho_", _WORD, 36), ("ghs_", _WORD, 36), ("github_pat_", _WORD, 82),
    ("glpat-", _URL_SAFE, 20), ("xoxb-", _WORD, 40), ("xoxp-", _WORD, 60), ("sk_live_", _WORD, 24), ("rk_live_", _WORD, 24),
    ("sk_test_", _WORD, 24), ("AIza", _URL_SAFE, 35), ("GOCSPX-", _URL_SAFE, 28), ("sk-", _WORD, 48), ("sk-proj-", _URL_SAFE, 64),
    ("sk-ant-api03-", _URL_SAFE, 93), ("npm_", _WORD, 36), ("pypi-AgEIcHlwaS5vcmc", _URL_SAFE, 70), ("hf_", string.ascii_letters, 34),
)  # fmt: skip


class Identifiers:
    """Draws identifiers."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def drawn(self, alphabet: str, length: int) -> str:
        """Characters by lot."""
        return "".join(self._chance.choices(alphabet, k=length))

    def card(self) -> str:
        """Digits of a card number of any network, with its check digit."""
        prefix, length = self._chance.choice(CARD_NETWORKS)
        body = prefix + self.drawn(string.digits, length - len(prefix) - 1)
        return next(body + digit for digit in string.digits if _luhn_sum(body + digit) % 10 == 0)

    def ssn(self) -> tuple[str, str, str]:
        """Area, group and serial as they can be given out."""
        area = self._chance.choice([*range(1, 666), *range(667, 900)])
        return f"{area:03}", f"{self._chance.randint(1, 99):02}", f"{self._chance.randint(1, 9999):04}"

    def address(self) -> str:
        """An IPv4 or IPv6 address, with a port or a prefix length now and then."""
        if self._chance.random() < 0.5:
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(self._chance.randrange(2**24, 224 * 2**24))
            return f"{address}{self._chance.choice(['', '', '', ':8080', '/24'])}"
        groups = [self._chance.randrange(2**16) if self._chance.random() < 0.6 else 0 for _ in range(6)]
        address = ipaddress.IPv6Address("2001:db8:" + ":".join(f"{group:x}" for group in groups))
        text = self._chance.choice([address.compressed, address.compressed, address.exploded, address.compressed.upper()])
        return f"{text}{self._chance.choice(['', '', '/64'])}"

    def key(self) -> str:
        """A token of one of the usual issuers, or a JSON web token."""
        if self._chance.random() < 0.1:
            parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": self.drawn(string.digits, 8), "iat": self._chance.randrange(2**30)})
            encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
            return ".".join([*encoded, self.drawn(_URL_SAFE, 43)])
        prefix, alphabet, length = self._chance.choice(KEY_FORMS)
        return prefix + self.drawn(alphabet, length)

    def pem(self) -> str:
        """A private key as PEM files hold it."""
        kind = self._chance.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
        body = "\n".join(self.drawn(_WORD + "+/", 64) for _ in range(self._chance.randint(3, 12)))
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"

    def secret(self) -> str:
        """A value that only the name it is assigned to gives away: hex, or letters and digits."""
        return self.drawn(*self._chance.choice([(_HEX, 32), (_HEX, 40), (_WORD, 24), (_WORD, 32), (_WORD + "+/", 40)]))

    def password(self) -> str:
        """Letters, digits and signs, 8 to 16 of them, each at least once."""
        must = [self._chance.choice(kind) for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!#%*+?^_~")]
        drawn = [*must, *self.drawn(_WORD, self._chance.randint(4, 12))]
        self._chance.shuffle(drawn)
        return "".join(drawn)

    def coin(self) -> str:
        """A Bitcoin address of any kind, or an Ethereum one."""
        kind = self._chance.randrange(4)
        if kind == 0:
            return "0x" + self.drawn(_HEX + "ABCDEF", 40)
        if kind == 1:
            return (
                _bech32("bc", 0, self._chance.randbytes(20))
                if self._chance.random() < 0.5
                else _bech32("bc", 1, self._chance.randbytes(32))
            )
        return _base58check(self._chance.choice([b"\x00", b"\x05"]) + self._chance.randbytes(20))


def _luhn_sum(digits: str) -> int:
    return sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(reversed(digits)))


def _base58check(payload: bytes) -> str:
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(whole, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + text


def _bech32(prefix: str, version: int, program: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    data = [version, *(int(bits[at : at + 5], 2) for at in range(0, len(bits), 5))]
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + data
    checksum = _polymod([*values, 0, 0, 0, 0, 0, 0]) ^ (0x2BC830A3 if version else 1)
    return prefix + "1" + "".join(_BECH32[five] for five in [*data, *(checksum >> 5 * (5 - at) & 31 for at in range(6))])


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= generator * (top >> bit & 1)
    return checksum
