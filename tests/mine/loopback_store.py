"""An object store on this machine that speaks enough of S3 for Arrow's client: listing, heads, and ranges of objects."""

from __future__ import annotations

import email.utils
import threading
import xml.sax.saxutils
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

CHANGED = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Store:
    """Objects by key, in one bucket.

    Args:
        port: Where it listens.
        objects: Keys and contents; may be changed while it runs.
    """

    bucket = "bucket"

    def __init__(self, port: int, objects: dict[str, bytes]) -> None:
        self.port = port
        self.objects = objects
        self.fetched: list[str] = []

    def address(self, path: str) -> str:
        """A path of the bucket, as a corpus names it."""
        return f"s3://{self.bucket}/{path}?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{self.port}"


@contextmanager
def serving(objects: Mapping[str, bytes]) -> Iterator[Store]:
    """Serve objects while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    store = server.store = Store(server.server_address[1], dict(objects))  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        return None

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        store: Store = self.server.store  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if bucket != store.bucket or not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>", body)
        elif not key:
            self._answer(200, _listing(store, {name: values[0] for name, values in parse_qs(url.query).items()}), body)
        elif key not in store.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", body)
        else:
            content = store.objects[key]
            if body:
                store.fetched.append(key)
            first, last = 0, len(content) - 1
            asked = self.headers.get("Range")
            if asked:
                start, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(start), min(last, int(end) if end else last)
            headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}"} if asked else {}
            self._answer(206 if asked else 200, content[first : last + 1], body, headers)

    def _answer(self, status: int, content: bytes, body: bool, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", email.utils.format_datetime(CHANGED, usegmt=True))
        self.send_header("ETag", '"0"')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _listing(store: Store, query: Mapping[str, str]) -> bytes:
    """What is under a prefix: keys, and folders where a delimiter is given."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    keys, folders = [], set()
    for key in sorted(store.objects):
        if not key.startswith(prefix):
            continue
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            folders.add(f"{prefix}{head}{delimiter}")
        else:
            keys.append(key)
    entries = "".join(
        f"<Contents><Key>{xml.sax.saxutils.escape(key)}</Key><Size>{len(store.objects[key])}</Size>"
        f"<LastModified>{CHANGED:%Y-%m-%dT%H:%M:%S.000Z}</LastModified><ETag>&quot;0&quot;</ETag></Contents>"
        for key in keys
    )
    common = "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in sorted(folders))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{store.bucket}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(keys) + len(folders)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}{common}</ListBucketResult>"
    ).encode()
