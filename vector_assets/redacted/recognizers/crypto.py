"""Addresses and keys of crypto currencies: Base58Check (Bitcoin and its kin, version and double SHA-256; Ripple with its own order of
letters), Bech32 and Bech32m (BIP 173, BIP 350) of any prefix, Ethereum's 20 bytes in hex (EIP-55 only changes the case of letters, so it
is not asked for), and forms that nothing else has (Bitcoin Cash, Monero, Stellar, TON). 32 bytes in base 58 (Solana) have no checksum:
they want a word before them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from vector_assets.redacted.recognizers.match import Finder, Match

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_WORD = re.compile(rf"(?<![A-Za-z0-9])[{_BASE58}]{{25,112}}(?![A-Za-z0-9])")
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_RIPPLE_WORD = re.compile(rf"(?<![A-Za-z0-9])r[{_RIPPLE}]{{24,34}}(?![A-Za-z0-9])")
_FORMS = re.compile(
    rf"(?<![A-Za-z0-9])(?:[48][0-9AB][{_BASE58}]{{93}}(?:[{_BASE58}]{{11}})?|[GS][A-Z2-7]{{55}})(?![A-Za-z0-9])"
    r"|(?<![\w-])[EUk0]Q[\w-]{46}(?![\w-])"
)
_BECH32_WORD = re.compile(rf"(?<![A-Za-z0-9])[a-z]{{2,24}}1[{_BECH32}]{{22,150}}(?![A-Za-z0-9])", re.IGNORECASE)
_HEX = re.compile(r"(?<![0-9a-z])0x[0-9a-f]{40}(?![0-9a-z])|(?<![0-9a-z])(?:xdc|cfx:|bitcoincash:)?[0-9a-f]{40}(?![0-9a-z])", re.IGNORECASE)
_CASH = re.compile(rf"(?<![A-Za-z0-9])(?:bitcoincash:[{_BECH32}]{{42,70}}|[qp][{_BECH32}]{{41}})(?![A-Za-z0-9])", re.IGNORECASE)
_ETHER_WORDS = re.compile(r"\b(?:eth(?:er(?:eum|scan)?)?|wallet|erc-?20|metamask|crypto\w*|coin\w*|0x|usdt|usdc|nft)\b", re.IGNORECASE)
_SOLANA_WORDS = re.compile(r"\b(?:sol(?:ana|scan)?|phantom|wallet|usdc|usdt|crypto\w*|coins?|airdrop|nft)\b", re.IGNORECASE)
_REACH = 48
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_ENDS = (1, 0x2BC830A3)  # Bech32, Bech32m


def _find(text: str) -> Iterator[Match]:
    yield from _checked(text)
    for pattern in (_CASH, _FORMS):
        for match in pattern.finditer(text):
            yield Match(*match.span(), 0.9)
    for match in _HEX.finditer(text):
        if match.group()[:2] in ("0x", "0X") or _is_behind(_ETHER_WORDS, text, match):
            yield Match(*match.span(), 0.9)
    for match in _BASE58_WORD.finditer(text):
        if len(match.group()) in (43, 44) and _is_behind(_SOLANA_WORDS, text, match):
            yield Match(*match.span(), 0.8)


def _checked(text: str) -> Iterator[Match]:
    """What a checksum proves."""
    for pattern, alphabet in ((_BASE58_WORD, _BASE58), (_RIPPLE_WORD, _RIPPLE)):
        for match in pattern.finditer(text):
            if _is_base58check(match.group(), alphabet):
                yield Match(*match.span(), 1.0)
    for match in _BECH32_WORD.finditer(text):
        if is_bech32(match.group()):
            yield Match(*match.span(), 1.0)


def _is_behind(words: re.Pattern[str], text: str, match: re.Match[str]) -> bool:
    return words.search(text, max(0, match.start() - _REACH), match.start()) is not None


def _is_base58check(word: str, alphabet: str) -> bool:
    """Whether the last four bytes are the checksum of the others."""
    number = 0
    for character in word:
        number = number * 58 + alphabet.index(character)
    zeros = len(word) - len(word.lstrip(alphabet[0]))
    payload = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return len(payload) >= 21 and hashlib.sha256(hashlib.sha256(payload[:-4]).digest()).digest()[:4] == payload[-4:]


def is_bech32(word: str) -> bool:
    """Whether the last six characters are the checksum of the others, under BIP 173 or BIP 350."""
    prefix, _, data = word.lower().rpartition("1")
    checksum = 1
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.index(c) for c in data]
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum in _BECH32_ENDS


CRYPTO = Finder("CRYPTO", re.compile(r"[\w-]{25}").search, _find)
