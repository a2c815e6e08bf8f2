"""A hub for tests: the part of the Hugging Face HTTP API that huggingface_hub uses to create, upload and download."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_test_token"
LFS = (".pth", ".safetensors", ".route", ".zip")


class Hub:
    """Repositories in memory: name -> list of commits, path -> content. ``broken``: requests until it stops to answer."""

    def __init__(self):
        self.repos, self.tags, self.stored, self.requests, self.sent = {}, {}, {}, [], []
        self.private, self.broken = set(), None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def commit_of(self, repo, revision):
        """(id, files) of a revision; None if there is none."""
        commits = self.repos[repo]
        number = self.tags.get((repo, revision), len(commits) - 1 if revision == "main" else None)
        if number is None:
            number = next((n for n in range(len(commits)) if sha(repo, n) == revision), None)
        return None if number is None else (sha(repo, number), commits[number])


def sha(repo, number):
    return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, content=b"", status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code):
        self.answer({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def handle_any(self):
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        self.hub.requests.append((self.command, path))
        if self.hub.broken is not None:
            self.hub.broken -= 1
            if self.hub.broken < 0:
                self.close_connection = True
                self.connection.close()
                return
        for pattern, handle in ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                handle(self, body, *found.groups())
                return
        self.error(404, "EntryNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def _chunk(self):
        size = int(self.rfile.readline(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def allowed(self):
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.error(401, "Unauthorized")
        return False

    def create(self, body):
        if not self.allowed():
            return
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'jane'}/{asked['name']}"
        if repo in self.hub.repos:
            self.answer({"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"}, 409)
            return
        self.hub.repos[repo] = [{".gitattributes": b""}]
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(repo)
        self.answer({"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})

    def validate(self, body):
        head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        wrong = [] if head["license"] == "other" or re.fullmatch(r"[a-z0-9.-]+", head["license"]) else ["license"]
        self.answer({"errors": [{"message": name} for name in wrong], "warnings": []})

    def preupload(self, body, repo, revision):
        if not self.allowed():
            return
        files = json.loads(body)["files"]
        kinds = ["lfs" if file["path"].endswith(LFS) else "regular" for file in files]
        answers = [{"path": f["path"], "uploadMode": kind, "shouldIgnore": False} for f, kind in zip(files, kinds)]
        self.answer({"files": answers})

    def batch(self, body, repo):
        objects = []
        for asked in json.loads(body)["objects"]:
            known = asked["oid"] in self.hub.stored
            actions = {} if known else {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}
            objects.append({**asked, **({"actions": actions} if actions else {})})
        self.answer({"objects": objects, "transfer": "basic"}, Content_Type="application/vnd.git-lfs+json")

    def put(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        self.hub.sent.append(oid)
        self.answer()

    def commit(self, body, repo, revision):
        if not self.allowed():
            return
        files = dict(self.hub.repos[repo][-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.repos[repo].append(files)
        oid = sha(repo, len(self.hub.repos[repo]) - 1)
        self.answer({"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def tag(self, body, repo, revision):
        if self.allowed():
            self.hub.tags[repo, json.loads(body)["tag"]] = len(self.hub.repos[repo]) - 1
            self.answer({})

    def refs(self, body, repo):
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": ""} for name, tag in self.hub.tags if name == repo]
        self.answer({"branches": [], "converts": [], "tags": tags})

    def found(self, repo, revision):
        """(commit, files); None after an error was sent."""
        if repo not in self.hub.repos:
            self.error(404, "RepoNotFound")
            return None
        known = self.hub.commit_of(repo, revision)
        if known is None:
            self.error(404, "RevisionNotFound")
        return known

    def info(self, body, repo, revision="main"):
        if known := self.found(repo, revision):
            commit, files = known
            siblings = [{"rfilename": name} for name in files]
            self.answer(
                {
                    "id": repo,
                    "modelId": repo,
                    "sha": commit,
                    "siblings": siblings,
                    "tags": [],
                    "private": repo in self.hub.private,
                }
            )

    def tree(self, body, repo, revision):
        if known := self.found(repo, revision):
            self.answer([{"type": "file", "path": p, "size": len(c), "oid": git(c)} for p, c in known[1].items()])

    def resolve(self, body, repo, revision, path):
        if known := self.found(repo, revision):
            commit, files = known
            if path not in files:
                self.error(404, "EntryNotFound")
                return
            etag = f'"{git(files[path])}"'
            self.answer(files[path], X_Repo_Commit=commit, ETag=etag, X_Linked_Size=str(len(files[path])))


def git(content):
    return hashlib.sha1(content).hexdigest()


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"POST /api/repos/create", Handler.create),
    (r"POST /api/validate-yaml", Handler.validate),
    (rf"POST /api/models/{REPO}/preupload/(\S+)", Handler.preupload),
    (rf"POST /{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    (r"PUT /lfs/(\w+)", Handler.put),
    (rf"POST /api/models/{REPO}/commit/(\S+)", Handler.commit),
    (rf"POST /api/models/{REPO}/tag/(\S+)", Handler.tag),
    (rf"GET /api/models/{REPO}", Handler.info),
    (rf"GET /api/models/{REPO}/refs", Handler.refs),
    (rf"GET /api/models/{REPO}/revision/(\S+)", Handler.info),
    (rf"GET /api/models/{REPO}/tree/([^/]+)/?", Handler.tree),
    (rf"(?:GET|HEAD) /{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
]
