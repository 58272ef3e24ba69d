"""A server on loopback that speaks OpenAI's protocol over real sockets, slow or faulty as it is told.

It prints its port, serves until its standard input closes, and tells at ``/log`` what it was asked and did. The model
behind it repeats the last word of the prompt, as the one value of the schema where JSON is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from typing import Any

FAULTS = ("429", "500", "dropped", "half", "empty", "schema", "stall")


class Loopback:
    """What the server is told and what it did."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.log: list[dict[str, Any]] = []
        self.running = 0
        self.chance = random.Random(options.seed)
        self.seen: dict[str, int] = {}
        self.heard = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                if self.options.echo:
                    self.heard = "".join(
                        line for line in head.decode().split("\r\n") if line.lower().startswith("auth")
                    )
                headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
                if method == "GET":
                    self.send(writer, 200, json.dumps(self.log).encode())
                elif not await self.answer(path, headers, json.loads(body), writer):
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(
        self, path: str, headers: dict[bytes, bytes], body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; False where the connection is to be closed."""
        prompt = body.get("prompt") or body["messages"][-1]["content"]
        entry = {"prompt": prompt, "path": path, "body": body, "at": time.time(), "did": "", "done": 0.0}
        if not self.options.quiet:
            self.log.append(entry)
        self.seen[prompt] = self.seen.get(prompt, 0) + 1
        self.running += 1
        try:
            did = self.choose(path, prompt, headers, body)
            entry["did"] = did
            await asyncio.sleep(self.options.stall if did == "stall" else self.options.latency)
            return self.reply(did, body, prompt, writer)
        finally:
            entry["done"] = time.time()
            self.running -= 1

    def choose(self, path: str, prompt: str, headers: dict[bytes, bytes], body: dict[str, Any]) -> str:
        options = self.options
        if options.key and headers.get(b"authorization") != f"bearer {options.key}".encode().lower():
            return "401"
        if body["model"] == "unknown" or not path.endswith("/completions"):
            return "404"
        if self.running > options.places:
            return "429"
        if options.retry_after and self.seen[prompt] == 1:
            return "429"
        for word in ("400", "500", "filtered", "empty", "schema"):
            if f"always-{word}" in prompt:
                return word
        if "max_tokens" in body and options.new_limit_name:
            return "max_tokens"
        if self.chance.random() < options.faults:
            return self.chance.choice(FAULTS)
        return "good"

    def reply(self, did: str, body: dict[str, Any], prompt: str, writer: asyncio.StreamWriter) -> bool:
        if did == "dropped":
            return False
        if did in ("400", "401", "404", "429", "500", "max_tokens"):
            status = 400 if did == "max_tokens" else int(did)
            param = did if did == "max_tokens" else None
            error = {
                "error": {
                    "message": f"told to say {did}{self.heard and f' to {self.heard}'}",
                    "param": param,
                    "code": None,
                    "type": "told",
                }
            }
            wait = self.options.retry_after if did == "429" else None
            self.send(writer, status, json.dumps(error).encode(), wait)
            return True
        answer = json.dumps(self.completion(did, body, prompt)).encode()
        if did == "half":
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + answer[:60]
            )
            return False
        self.send(writer, 200, answer)
        return True

    def completion(self, did: str, body: dict[str, Any], prompt: str) -> dict[str, Any]:
        word = prompt.split()[-1]
        text = f"it is {word}{self.heard and f' for {self.heard}'}"
        if "response_format" in body:
            shape = body["response_format"]["json_schema"]["schema"]
            [key] = shape["required"]
            text = json.dumps({key: [word] if shape["properties"][key]["type"] == "array" else word})
        text = {"empty": "", "schema": '{"wrong": 1}', "filtered": ""}.get(did, text)
        text = f" {text}" if self.options.space else text
        limit = body.get("max_tokens") or body["max_completion_tokens"]
        needed = int(word.split("-")[1]) if word.startswith("long-") else 3
        reason = "content_filter" if did == "filtered" else "length" if needed > limit else "stop"
        if needed > limit:
            text = text[: len(text) // 2]
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
        if "messages" in body:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": min(needed, limit), "total_tokens": 0}
        kind = "chat.completion" if "messages" in body else "text_completion"
        return {"id": "1", "object": kind, "created": 0, "model": body["model"], "choices": [choice], "usage": usage}

    def send(self, writer: asyncio.StreamWriter, status: int, body: bytes, wait: float | None = None) -> None:
        extra = f"retry-after: {wait}\r\n" if wait else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


async def main(options: argparse.Namespace) -> None:
    server = await asyncio.start_server(Loopback(options).serve, "127.0.0.1", options.port, backlog=512, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201  # the port is what it is started for
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--stall", type=float, default=30.0)
    parser.add_argument("--places", type=int, default=10_000)
    parser.add_argument("--retry-after", type=float, default=None)
    parser.add_argument("--key", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--new-limit-name", action="store_true")
    parser.add_argument("--space", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    asyncio.run(main(parser.parse_args()))
