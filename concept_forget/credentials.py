"""Keys are read from the environment, and nothing that is said or kept has them. The standard library alone."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

HIDDEN = "[key]"
SHORTEST = 8
"""Characters of a key. What is shorter guards nothing, and stands in other words too (``none``, ``EMPTY``)."""

_NAME = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@'\"<>]*@")
_IN_HEADER = re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_STORE = r"(?:s3|gs|gcs|abfss?|az)"
_HOLDS_KEY = re.compile(
    rf"\b{_STORE}://[^\s/@]*@|://[^\s/@]*:[^\s/@]*@"
    r"|://\S*[?&](?:\w+_)?(?:key|secret|token|password|passwd|sig|signature)=[^\s&]",
    re.IGNORECASE,
)


def hide_values(text: str, *names: str) -> str:
    """The text without the keys that stand in the environment.

    Args:
        text: Anything that somebody else's program said.
        names: Environment variables that hold a key, beside those whose name says so.
    """
    held = {value.strip() for name, value in os.environ.items() if name in names or _NAME.search(name.upper())}
    for key in sorted((key for key in held if len(key) >= SHORTEST), key=lambda key: (-len(key), key)):
        for form in (key, quote(key, safe=""), repr(key)[1:-1]):
            text = text.replace(form, HIDDEN)
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
    return _HOLDS_KEY.search(text) is not None
