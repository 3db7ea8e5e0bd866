"""A Hub on loopback, for the real clients: repositories of datasets, in memory.

It answers what `huggingface_hub` and `datasets` ask when they create, upload, list, download and
stream. Every request goes through `Hub.answer`, which finds the method by its `route`, and every
body leaves through `_Handler._send`: a new call is a new route, a new way to fail is one of those.
"""

import base64
import hashlib
import json
import re
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

LFS_SUFFIXES = (".parquet", ".zip", ".tif", ".arrow", ".png")
CHUNK = 2**16


def git_oid(kind, content):
    """The hash that git gives an object."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(content)) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a commit, kept in LFS or in git."""

    content: bytes
    lfs: bool

    @property
    def oid(self):
        return git_oid("blob", self.content)

    @property
    def etag(self):
        return hashlib.sha256(self.content).hexdigest() if self.lfs else self.oid

    def entry(self, path):
        """How a listing tells of it."""
        size = len(self.content)
        lfs = {"lfs": {"oid": self.etag, "size": size, "pointerSize": 134}} if self.lfs else {}
        return {"type": "file", "path": path, "oid": self.oid, "size": size, **lfs}


class Repository:
    """A dataset repository: commits, which are path -> File, and branches, which name commits."""

    def __init__(self, name, private):
        self.name, self.owner, self.private = name, name.split("/")[0], private
        self.commits, self.branches = {}, {}
        attributes = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)
        self.commit("main", "initial commit", {".gitattributes": File(attributes.encode(), False)})

    @property
    def files(self):
        """Path -> File on the main branch."""
        return self.commits[self.branches["main"]]

    def sha(self, revision):
        """The commit that a branch or a hash names."""
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "RevisionNotFound", "Invalid rev id")
        return sha

    def commit(self, branch, title, files):
        """Put these files at the head of the branch; returns the hash."""
        oids = [f"{path} {file.oid}" for path, file in sorted(files.items())]
        sha = git_oid("commit", "\n".join([str(len(self.commits)), title, *oids]).encode())
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def entries(self, revision):
        """Path -> listing entry, of every file and folder."""
        files = self.commits[self.sha(revision)]
        entries = {path: file.entry(path) for path, file in files.items()}
        for path in files:
            while path := path.rpartition("/")[0]:
                oid = git_oid("tree", path.encode())
                entries[path] = {"type": "directory", "path": path, "oid": oid, "size": 0}
        return dict(sorted(entries.items()))


@dataclass
class Request:
    """What a client sent; the user is the one whose token it carries, or None."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    user: str | None = None

    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """What the client gets; the bytes of a file are counted under `counted`."""

    body: bytes | dict | list = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    counted: str | None = None


class Refusal(Exception):  # noqa: N818  # an answer, not a mistake
    """A reply that is an error, with the code that tells clients which one."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        headers = {**dict(headers), "X-Error-Message": message}
        headers |= {"X-Error-Code": code} if code else {}
        self.reply = Reply({"error": message}, status, headers)


ROUTES = []


def route(method, pattern):
    """Let the decorated method of Hub answer requests of that method and path."""
    for name, inner in (("repo", "[^/]+/[^/]+"), ("rev", "[^/]+"), ("path", ".+")):
        pattern = pattern.replace(f"{{{name}}}", f"(?P<{name}>{inner})")

    def add(function):
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


class Hub:
    """The server, which listens while it is a context, and at its end tells of what went wrong.

    Attributes:
        users: Token -> user.
        page_size: Entries in a page of a listing.
        repositories: Name -> Repository.
        objects: SHA-256 -> content that was uploaded to LFS.
        served: "user/name/path" -> bytes of that file that were sent.
        requests: Method, path and status of each request.
        failures: Requests that nothing here knows, or that something here failed on.
    """

    def __init__(self, users=None, page_size=1000):
        self.users, self.page_size = users or {"hf_user": "user"}, page_size
        self.repositories, self.objects = {}, {}
        self.served, self.requests, self.failures = Counter(), [], []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.hub = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        assert error[0] or not self.failures, "\n".join(self.failures)

    def environment(self, home, token="hf_user"):
        """What makes a new process take this for the Hub; an empty token is none."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def answer(self, request):
        """The reply to a request."""
        try:
            request.user = self._user(request.headers.get("Authorization", ""))
            reply = self._dispatch(request)
        except Refusal as refusal:
            reply = refusal.reply
        except Exception:  # noqa: BLE001  # the test shall hear of it, whatever it is
            self.failures.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            # Clients try again after a 500, not after a 501.
            reply = Reply({"error": self.failures[-1]}, 501)
        self.requests.append((request.method, request.path, reply.status))
        return reply

    def _dispatch(self, request):
        wanted = "GET" if request.method == "HEAD" else request.method
        for method, pattern, function in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == wanted:
                found = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                return function(self, request, **found)
        raise LookupError("the test Hub does not know this call")

    def _user(self, authorization):
        token = authorization.removeprefix("Bearer ")
        if token and token not in self.users:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return self.users.get(token)

    def _find(self, request, repo, *, write=False):
        """The repository, if the user may read it, or write to it."""
        found = self.repositories.get(repo)
        if found is None or (found.private and request.user != found.owner):
            status = 404 if request.user else 401
            raise Refusal(status, "RepoNotFound", "Repository not found")
        if write and request.user != found.owner:
            raise Refusal(403 if request.user else 401, None, "You may not write here")
        return found

    # --- repositories -------------------------------------------------------------------------

    @route("GET", "/api/whoami-v2")
    def whoami(self, request):
        if request.user is None:
            raise Refusal(401, None, "Invalid username or password.")
        return Reply({"type": "user", "name": request.user, "orgs": [], "auth": {}})

    @route("POST", "/api/repos/create")
    def create(self, request):
        asked = request.json()
        assert asked["type"] == "dataset", asked
        owner = asked["organization"] or request.user
        if request.user is None or owner != request.user:
            raise Refusal(403 if request.user else 401, None, "This is not your namespace")
        name = f"{owner}/{asked['name']}"
        reply = {"name": name, "url": f"{self.url}/datasets/{name}"}
        with self.lock:
            if name in self.repositories:
                return Reply({**reply, "error": "You already created this dataset repo"}, 409)
            private = asked.get("visibility") == "private" or asked.get("private") is True
            self.repositories[name] = Repository(name, private)
        return Reply(reply)

    @route("GET", "/api/datasets/{repo}(?:/revision/{rev})?")
    def info(self, request, repo, rev="main"):
        found = self._find(request, repo)
        sha = found.sha(rev)
        more = {"private": found.private, "gated": False, "disabled": False, "tags": []}
        more["siblings"] = [{"rfilename": path} for path in sorted(found.commits[sha])]
        return Reply({"id": repo, "author": found.owner, "sha": sha, **more})

    @route("GET", "/api/datasets/{repo}/refs")
    def refs(self, request, repo):
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
            for name, sha in self._find(request, repo).branches.items()
        ]
        return Reply({"branches": branches, "tags": [], "converts": [], "pullRequests": []})

    # --- listings -----------------------------------------------------------------------------

    @route("GET", "/api/datasets/{repo}/tree/{rev}(?:/{path})?")
    def tree(self, request, repo, rev, path=""):
        entries = self._find(request, repo).entries(rev)
        if path and entries.get(path, {}).get("type") != "directory":
            raise Refusal(404, "EntryNotFound", "There is no such folder")
        prefix = f"{path}/" if path else ""
        below = [entry for name, entry in entries.items() if name.startswith(prefix)]
        if request.query.get("recursive") != ["true"]:
            below = [entry for entry in below if "/" not in entry["path"][len(prefix) :]]
        start = int(request.query.get("cursor", ["0"])[0])
        stop, headers = start + self.page_size, {}
        if stop < len(below):
            query = urlencode({**request.query, "cursor": stop}, doseq=True)
            headers["Link"] = f'<{self.url}{request.path}?{query}>; rel="next"'
        return Reply(below[start:stop], headers=headers)

    @route("POST", "/api/datasets/{repo}/paths-info/{rev}")
    def paths_info(self, request, repo, rev):
        entries = self._find(request, repo).entries(rev)
        asked = parse_qs(request.body.decode())["paths"]
        return Reply([entries[path] for path in asked if path in entries])

    # --- uploads ------------------------------------------------------------------------------

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request):
        assert request.json()["repoType"] == "dataset", request.body
        return Reply({"errors": [], "warnings": []})

    @route("POST", "/api/datasets/{repo}/preupload/{rev}")
    def preupload(self, request, repo, rev):
        found = self._find(request, repo, write=True)
        there, files = found.commits[found.sha(rev)], []
        for path in (file["path"] for file in request.json()["files"]):
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            oid = there[path].etag if path in there else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply({"files": files})

    @route("POST", r"/datasets/{repo}\.git/info/lfs/objects/batch")
    def lfs_batch(self, request, repo):
        self._find(request, repo, write=True)
        asked = [{"oid": o["oid"], "size": o["size"]} for o in request.json()["objects"]]
        for wanted in asked:
            if wanted["oid"] not in self.objects:
                wanted["actions"] = {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}"}}
        return Reply({"transfer": "basic", "objects": asked})

    @route("PUT", "/lfs/{path}")
    def lfs_put(self, request, path):
        if hashlib.sha256(request.body).hexdigest() != path:
            raise Refusal(422, None, f"expected content with SHA-256 {path}")
        self.objects[path] = request.body
        return Reply()

    @route("POST", "/api/datasets/{repo}/commit/{rev}")
    def commit(self, request, repo, rev):
        found = self._find(request, repo, write=True)
        header, *operations = map(json.loads, request.body.splitlines())
        assert header["key"] == "header", header
        with self.lock:
            parent = found.sha(rev)
            if header["value"].get("parentCommit", parent) != parent:
                raise Refusal(412, None, "A commit has happened since")
            files = dict(found.commits[parent])
            for operation in operations:
                self._apply(files, operation["key"], operation["value"])
            sha = found.commit(rev, header["value"]["summary"], files)
        url = f"{self.url}/datasets/{repo}/commit/{sha}"
        return Reply({"success": True, "commitOid": sha, "commitUrl": url})

    def _apply(self, files, kind, value):
        path = value["path"].rstrip("/")
        if kind == "file":
            files[path] = File(base64.b64decode(value["content"], validate=True), lfs=False)
        elif kind == "lfsFile":
            if value["oid"] not in self.objects:
                raise Refusal(400, None, f"{path}: its content is not in LFS")
            files[path] = File(self.objects[value["oid"]], lfs=True)
        elif kind in ("deletedFile", "deletedFolder"):
            start = f"{path}/" if kind == "deletedFolder" else None
            gone = [p for p in files if (p.startswith(start) if start else p == path)]
            if not gone:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
            for name in gone:
                del files[name]
        else:
            raise LookupError(f"unknown operation {kind!r}")

    # --- downloads ----------------------------------------------------------------------------

    @route("GET", "/datasets/{repo}/resolve/{rev}/{path}")
    def resolve(self, request, repo, rev, path):
        found = self._find(request, repo)
        sha = found.sha(rev)
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        file = found.commits[sha].get(path)
        if file is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", headers)
        headers["ETag"], size = f'"{file.etag}"', len(file.content)
        if file.lfs:
            headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(size)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)|bytes=-(\d+)", request.headers.get("Range", ""))
        if wanted is None:
            return Reply(file.content, 200, headers, counted=f"{repo}/{path}")
        first, last, suffix = (None if n in (None, "") else int(n) for n in wanted.groups())
        start = first if suffix is None else max(size - suffix, 0)
        stop = size if last is None else min(last + 1, size)
        if start >= stop:
            return Reply(b"", 416, {**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Reply(file.content[start:stop], 206, headers, counted=f"{repo}/{path}")


class _Handler(BaseHTTPRequestHandler):
    """Between the socket and the Hub."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for its headers' acknowledgement

    def _serve(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, url.path, parse_qs(url.query), self.headers, body)
        try:
            self._send(self.server.hub.answer(request))
        except ConnectionError:  # a client may leave what it streams
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815  # names of http.server

    def _send(self, reply):
        body, headers = reply.body, reply.headers
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {**headers, "Content-Type": "application/json"}
        self.send_response(reply.status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), CHUNK):
            chunk = body[start : start + CHUNK]
            if reply.counted:  # before it is sent: who has got it may look at the count
                with self.server.hub.lock:
                    self.server.hub.served[reply.counted] += len(chunk)
            self.wfile.write(chunk)

    def log_message(self, *arguments):
        """Say nothing: what goes wrong is in the failures."""
