"""A hub on loopback that speaks as much of the Hugging Face hub's protocol as pushing and reading a dataset takes.

It keeps what is pushed in memory and records every call; ``TOKEN`` is the one token that it knows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_loopback"


class Hub:
    """What the hub holds: files and visibility by dataset, and the calls so far."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.blobs: dict[str, bytes] = {}  # large files, by SHA-256, before a commit names them
        self.calls: list[tuple[str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def create(self, name: str, *, private: bool) -> None:
        self.files.setdefault(name, {})
        self.private.setdefault(name, private)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def info(self, name: str) -> dict[str, Any]:
        listed = [{"rfilename": path} for path in self.files[name]]
        return {"id": name, "sha": self.sha(name), "private": self.private[name], "siblings": listed, "tags": []}

    def sha(self, name: str) -> str:
        state = json.dumps(sorted((path, hashlib.sha1(data).hexdigest()) for path, data in self.files[name].items()))
        return hashlib.sha1(state.encode()).hexdigest()

    def entries(self, name: str, under: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path, data in self.files[name].items():
            if under and not path.startswith(f"{under}/"):
                continue
            rest = path.removeprefix(f"{under}/") if under else path
            first, slash, _ = rest.partition("/")
            here = f"{under}/{first}" if under else first
            oid = hashlib.sha1(data).hexdigest()
            found[here] = (
                {"type": "directory", "path": here, "size": 0, "oid": oid}
                if slash
                else {"type": "file", "path": here, "size": len(data), "oid": oid}
            )
        return list(found.values())

    def commit(self, name: str, lines: bytes) -> None:
        for line in lines.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                assert value["encoding"] == "base64"
                self.files[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.files[name][value["path"]] = self.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                del self.files[name][value["path"]]
            else:
                assert entry["key"] == "header", entry["key"]


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            return None

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            hub.calls.append((self.command, path))
            if path.startswith("/blobs/"):
                hub.blobs[path.removeprefix("/blobs/")] = body
                return self.send(200, b"")
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                heard = self.headers.get("authorization")
                return self.send(401, {"error": f"Invalid username or password: {heard}"})
            if path == "/api/whoami-v2":
                return self.send(200, {"name": "tester", "type": "user", "orgs": [], "auth": {}})
            if path == "/api/validate-yaml":
                return self.send(200, {"errors": [], "warnings": []})
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
                hub.create(name, private=asked.get("visibility") == "private" or asked.get("private", False))
                return self.send(200, {"url": f"{hub.url}/datasets/{name}", "name": name, "id": "1"})
            if path.endswith(".git/info/lfs/objects/batch"):
                objects = [
                    {**wanted, "actions": {"upload": {"href": f"{hub.url}/blobs/{wanted['oid']}"}}}
                    for wanted in json.loads(body)["objects"]
                ]
                return self.send(200, {"transfer": "basic", "objects": objects})
            match = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.*))?)?", path)
            if match is None or match[1] not in hub.files:
                return self.send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            name, verb, _, rest = match.groups()
            if verb in (None, "revision"):
                return self.send(200, hub.info(name))
            if verb == "preupload":
                wanted = [file["path"] for file in json.loads(body)["files"]]
                modes = [
                    {"path": p, "uploadMode": "lfs" if p.endswith(".parquet") else "regular", "shouldIgnore": False}
                    for p in wanted
                ]
                return self.send(200, {"files": modes})
            if verb == "commit":
                hub.commit(name, body)
                oid = hub.sha(name)
                return self.send(
                    200, {"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/datasets/{name}/commit/{oid}"}
                )
            if verb == "tree" and (not rest or hub.entries(name, rest)):
                return self.send(200, hub.entries(name, rest or ""))
            if verb == "paths-info":
                asked = json.loads(body)["paths"] if body[:1] == b"{" else []
                return self.send(
                    200, [e for p in asked for e in hub.entries(name, p.rpartition("/")[0]) if e["path"] == p]
                )
            if verb == "resolve" and rest in hub.files[name]:
                return self.send(200, hub.files[name][rest], {"X-Repo-Commit": hub.sha(name)})
            return self.send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

        def send(self, status: int, content: Any, extra: dict[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.send_header("etag", f'"{hashlib.sha1(data).hexdigest()}"')
            for key, value in (extra or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler
