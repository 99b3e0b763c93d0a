"""A small Hugging Face Hub on loopback: what its client needs to make, fill and read models."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

TOKEN = "hf_of_a_test"


class Hub:
    """Repositories in memory, every commit kept.

    Attributes:
        repositories: "owner/name" -> its commits, each (sha, path -> content).
        private: those that only the token's owner sees.
        asked: (method, path) of all requests.
        changes: bytes to send instead of a file's own: path -> content.
    """

    def __init__(self):
        self.repositories, self.private, self.asked, self.large = {}, set(), [], {}
        self.changes = {}

    def commit(self, name, files):
        commits = self.repositories.setdefault(name, [])
        kept = commits[-1][1] if commits else {".gitattributes": b""}
        sha = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits.append((sha, {**kept, **files}))
        return sha

    def at(self, name, revision="main"):
        commits = self.repositories[name]
        found = [c for c in commits if revision in ("main", c[0])]
        return found[-1] if found else None


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *args):
        pass

    def answer(self, status=200, values=None, content=None, **headers):
        body = json.dumps(values).encode() if content is None else content
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def lacks(self, code="RepoNotFound"):
        self.answer(404, {}, X_Error_Code=code)

    @property
    def own(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        chunks = [self.rfile.read(length)]
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                break
        body, path = b"".join(chunks), self.path.partition("?")[0]
        self.hub.asked.append((self.command, path))
        for pattern, method in ROUTES:
            found = re.fullmatch(pattern, f"{self.command} {path}")
            if found:
                return getattr(self, method)(body, **found.groupdict())
        return self.answer(404, {})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def seen(self, name):
        return name in self.hub.repositories and (self.own or name not in self.hub.private)

    def info(self, body, name, revision="main"):
        if not self.seen(name):
            return self.lacks()
        found = self.hub.at(name, revision)
        if found is None:
            return self.lacks("RevisionNotFound")
        rows = []
        for path, content in found[1].items():
            row = {"rfilename": path, "size": len(content), "blobId": "0" * 40}
            if path.endswith(".safetensors"):
                sha256 = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
            rows.append(row)
        self.answer(values={"id": name, "sha": found[0], "siblings": rows})

    def create(self, body):
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self.own:
            return self.answer(401, {"error": "Invalid username or password."})
        self.hub.commit(name, {})
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(name)
        self.answer(values={"url": f"{self.hub.url}/{name}", "name": name})

    def validate(self, body):
        head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        base = head.get("base_model", "a/b")
        wrong = [] if re.fullmatch(r"[\w.-]+/[\w.-]+", base) else ['"base_model" is not valid.']
        errors = [{"message": text} for text in wrong]
        self.answer(400 if wrong else 200, {"errors": errors, "warnings": []})

    def preupload(self, body, name):
        if not self.own:
            return self.answer(403, {"error": "no write access"})
        rows = [
            {"path": f["path"], "shouldIgnore": False,
             "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
            for f in json.loads(body)["files"]
        ]  # fmt: skip
        self.answer(values={"files": rows})

    def batch(self, body, name):
        objects = json.loads(body)["objects"]
        for each in objects:
            each["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{each['oid']}"}}
        self.answer(values={"transfer": "basic", "objects": objects})

    def upload(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.large[oid] = body
        self.answer(values={})

    def commit(self, body, name):
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        sha = self.hub.commit(name, files)
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self.answer(values={"commitUrl": url, "commitOid": sha, "success": True})

    def resolve(self, body, name, revision, path):
        """Large files are in a store, small ones beside; that leads on the same server."""
        if not self.seen(name) or path not in self.hub.at(name, revision)[1]:
            return self.lacks("EntryNotFound")
        store = self.hub.url.replace("127.0.0.1", "localhost")
        beside = f"/api/resolve-cache/{name}/{revision}/{path}"
        where = f"{store}/store/{name}/{revision}/{path}" if ".safetensors" in path else beside
        self.answer(302, content=b"", Location=where)

    def small(self, body, name, revision, path):
        if not self.seen(name):
            return self.lacks()
        return self.stored(body, name, revision, path)

    def stored(self, body, name, revision, path):
        content = self.hub.changes.get(path, self.hub.at(name, revision)[1][path])
        self.answer(content=content, Content_Type="application/octet-stream")


NAME, FILE = r"(?P<name>[\w.-]+/[\w.-]+)", r"(?P<revision>[\w.-]+)/(?P<path>.+)"
ROUTES = [
    (f"GET /api/models/{NAME}", "info"),
    (rf"GET /api/models/{NAME}/revision/(?P<revision>[\w.-]+)", "info"),
    ("POST /api/repos/create", "create"),
    ("POST /api/validate-yaml", "validate"),
    (f"POST /api/models/{NAME}/preupload/main", "preupload"),
    (f"POST /{NAME}[.]git/info/lfs/objects/batch", "batch"),
    ("PUT /upload/(?P<oid>[0-9a-f]{64})", "upload"),
    (f"POST /api/models/{NAME}/commit/main", "commit"),
    (f"GET /api/resolve-cache/{NAME}/{FILE}", "small"),
    (f"GET /store/{NAME}/{FILE}", "stored"),
    (f"(?:GET|HEAD) /{NAME}/resolve/{FILE}", "resolve"),
]


def serve():
    """A hub at ``hub.url``, and what stops it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return hub, stop
