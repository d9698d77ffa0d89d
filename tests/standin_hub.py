"""A stand-in for the Hugging Face hub: the part of its HTTP interface that downloads use, in a thread."""

import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `files` (path → bytes) as the one commit of `repository`; `main` and the commit are its revisions.

    A file named in `breaking` loses its connection half-way, once; of one in `flipping` a bit arrives flipped, as often
    as it says. Files from 4 KiB on count as large ones. `requests` tells what was asked for: the method,
    the path and the `Range` header.
    """

    def __init__(self, repository: str, files: dict[str, bytes], kind: str = "models") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.files, self.kind = repository, files, kind
        self.breaking: set[str] = set()
        self.flipping: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(hub: Hub):
    thread = Thread(target=hub.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def checksum(content: bytes) -> dict[str, object]:
    """What the hub says of a file: the sha256 of a large one, of every one git's checksum of what it stores."""
    stored, size = content, {"size": len(content)}
    if len(content) >= 4096:
        digest = hashlib.sha256(content).hexdigest()
        stored = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
        size["lfs"] = size | {"sha256": digest, "pointerSize": len(stored)}
    return size | {"blobId": hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        prefix = "" if hub.kind == "models" else f"/{hub.kind}"
        api, files = f"/api/{hub.kind}/{hub.repository}", f"{prefix}/{hub.repository}/resolve/{COMMIT}/"
        if path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}", api):
            siblings = [{"rfilename": name} | checksum(content) for name, content in hub.files.items()]
            return self.json({"id": hub.repository, "sha": COMMIT, "siblings": siblings})
        if path == f"{api}/tree/{COMMIT}":
            entries = [(name, content, hashlib.sha256(content).hexdigest()) for name, content in hub.files.items()]
            return self.json(
                [{"type": "file", "path": name, "size": len(c), "oid": etag[:40]} for name, c, etag in entries]
            )
        if path.startswith(files) and path.removeprefix(files) in hub.files:
            return self.file(path.removeprefix(files))
        code = "RevisionNotFound" if path.startswith(f"{api}/revision/") else "RepoNotFound"
        return self.send(404, b"", {"X-Error-Code": code, "X-Error-Message": "not here"})

    def file(self, name: str) -> None:
        content, headers = self.server.files[name], {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        wanted, status = self.headers.get("Range"), 200
        if wanted:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        broken = self.command == "GET" and name in self.server.breaking
        if broken:
            self.server.breaking.discard(name)
        if self.command == "GET" and self.server.flipping.get(name, 0) > 0:
            self.server.flipping[name] -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send(status, content, headers, cut=len(content) // 2 if broken else None)

    def json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, *arguments: object) -> None:
        """No noise in the tests' output."""
