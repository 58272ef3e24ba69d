"""Keys are read from the environment, and nothing that is said or kept has them. The standard library alone."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

HIDDEN = "[key]"
SHORTEST = 8
"""Characters of a key. What is shorter guards nothing, and stands in other words too (``none``, ``EMPTY``)."""

_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?:^|_)(?:PASS|PAT))(?:_?\d+)?$")
_NO_NAME = re.compile(r"(?:^|_)(?:MON|DON|TUR|HOC|JOC|WHIS|HOT|LOC)KEY$")
"""Words that end like a key's name and tell of none."""
_SECRET_NAME = re.compile(r"(?:^|_)(?:api_?key|key|token|secret|passw\w*)(?:_|$)", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)(?:[^\s/@:'\"<>]*:(?!\d+(?:/|$))[^\s@'\"<>]*|[^\s/@'\"<>]*)@")
_IN_HEADER = re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_STORE = r"(?:s3|gs|gcs|abfss?|az)"
_HOLDS_KEY = re.compile(
    rf"\b{_STORE}://(?:[^\s/@]*|[^\s@:]*:[^\s@]*)@|://[^\s/@:]*:(?!\d+(?:/|$))[^\s@]*@|://[^\s/@]*:[^\s/@]*@"
    r"|://\S*[?&;#](?:[\w.-]*[_.-])?(?:api|access|auth|secret)?"
    r"(?:key|secret|token|password|passwd|pwd|sig|signature|credential|auth)=[^\s&]",
    re.IGNORECASE,
)
_LONGEST = 300
"""Of a key of more characters, such as a whole file with one, each letter is found as it is alone."""
_UNSEEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*"
"""What may stand between two letters of a key, and the eye still reads the key."""


def hide_values(text: str, *names: str) -> str:
    """The text without the keys that stand in the environment.

    A key is found in either case, with what does not show between its letters, with letters written as in addresses,
    pages or JSON, in hexadecimal digits, and within what is in base64, such as ``Bearer KEY``.

    Args:
        text: Anything that somebody else's program said.
        names: Environment variables that hold a key, beside those whose name says so.
    """
    held = {value.strip() for name, value in os.environ.items() if name in names or _is_key(name.upper())}
    for key in sorted((key for key in held if len(key) >= SHORTEST), key=lambda key: (-len(key), key)):
        for pattern in _forms(key):
            text = pattern.sub(HIDDEN, text)
    return text


def hide_keys(text: str, *names: str) -> str:
    """The text without these, and without what stands for a key in an address or a header.

    Args:
        text: A message, of which nothing is lost by it.
        names: As for ``hide_values``.
    """
    text = _IN_ADDRESS.sub(f"{HIDDEN}@", hide_values(text, *names))
    return _IN_HEADER.sub(rf"\1\2{HIDDEN}", text)


def holds_key(text: str) -> bool:
    """Whether an address in the text holds a key: before its host, or among its options."""
    return any(_HOLDS_KEY.search(form) is not None for form in (text, unquote(text)))


def names_key(name: str) -> bool:
    """Whether what stands under this name in a config may be a key, put there by mistake."""
    return _SECRET_NAME.search(name) is not None


def _is_key(name: str) -> bool:
    return _NAME.search(name) is not None and _NO_NAME.search(name) is None


@lru_cache(maxsize=256)
def _forms(key: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of a key as others may write it."""
    letters = _UNSEEN.join(map(_letter if len(key) <= _LONGEST else re.escape, key))
    return (
        re.compile(rf"{letters}|{re.escape(repr(key)[1:-1])}|{key.encode().hex()}", re.IGNORECASE),
        re.compile("|".join(rf"[\w+/-]{{0,2}}{core}[\w+/=-]{{0,3}}" for core in _in_base64(key))),
    )


def _letter(character: str) -> str:
    """A letter of a key, as it is or written for an address, for a page, or in JSON."""
    code = ord(character)
    own = re.escape(character)
    address = "".join(f"%(?:25)*{byte:02x}" for byte in character.encode())
    return rf"(?:\\?{own}|{address}|&\#0*{code};|&\#x0*{code:x};|\\u{code:04x})"


def _in_base64(key: str) -> Iterator[str]:
    """The letters that stand for the key in base64, however many bytes stand before it."""
    raw = key.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        first, whole = (0, 2, 3)[before], (before + len(raw)) * 8 // 6
        core = encoded[first:whole]
        yield re.escape(core)
        yield re.escape(core.translate(str.maketrans("+/", "-_")))
