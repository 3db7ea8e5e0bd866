"""A Hub on loopback, for the real clients: repositories of datasets, in memory.

It answers the requests by which `huggingface_hub` and `datasets` create repositories, upload,
list, download and stream, over LFS, or over Xet if it has a storage (xet.py). `Hub.answer` finds
the method for a request by its `route`: a new call is a new route. The HTTP is in hub_http.py;
faults that a test asks for are in `Hub.faults`.
"""

import base64
import hashlib
import json
import re
import threading
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode

from support.hub_http import Handler, Refusal, Reply
from support.xet import XetStorage

LFS_SUFFIXES = (".parquet", ".zip", ".tif", ".arrow", ".png")


def git_oid(object_type, content):
    """The hash that git gives an object."""
    return hashlib.sha1(b"%s %d\0" % (object_type.encode(), len(content)) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a commit, in LFS or in git; a file in LFS may have been uploaded over Xet."""

    content: bytes
    lfs: bool
    xet: str | None = None

    @property
    def oid(self):
        return git_oid("blob", self.content)

    @property
    def etag(self):
        return hashlib.sha256(self.content).hexdigest() if self.lfs else self.oid

    def entry(self, path):
        """Its entry in a listing."""
        size = len(self.content)
        lfs = {"lfs": {"oid": self.etag, "size": size, "pointerSize": 134}} if self.lfs else {}
        xet = {"xetHash": self.xet} if self.xet else {}
        return {"type": "file", "path": path, "oid": self.oid, "size": size, **lfs, **xet}


class Repository:
    """A dataset repository: hash of a commit -> path -> File, and branch or tag -> hash.

    A pull request is a branch `refs/pr/N`, which is not listed; `titles` are those of commits by
    clients.
    """

    def __init__(self, name, private):
        self.name, self.owner, self.private = name, name.split("/")[0], private
        self.commits, self.branches, self.tags = {}, {}, {}
        self.titles, self.parents = {}, {}
        attributes = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)
        self.commit("main", "initial commit", {".gitattributes": File(attributes.encode(), False)})

    @property
    def files(self):
        """Path -> File on the main branch."""
        return self.commits[self.branches["main"]]

    def sha(self, revision):
        """The hash of the commit of a branch, or of that hash."""
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "RevisionNotFound", "Invalid rev id")
        return sha

    def commit(self, branch, title, files):
        """Commit these files to a branch; returns the hash."""
        oids = [f"{path} {file.oid}" for path, file in sorted(files.items())]
        sha = git_oid("commit", "\n".join([str(len(self.commits)), title, *oids]).encode())
        self.parents[sha] = self.branches.get(branch, self.branches.get("main"))
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def entries(self, revision):
        """Path -> entry in a listing, of each file and folder."""
        files = self.commits[self.sha(revision)]
        entries = {path: file.entry(path) for path, file in files.items()}
        for path in files:
            while path := path.rpartition("/")[0]:
                oid = git_oid("tree", path.encode())
                entries[path] = {"type": "directory", "path": path, "oid": oid, "size": 0}
        return dict(sorted(entries.items()))


ROUTES = []


def route(method, pattern):
    """Register the decorated method of Hub for requests of that method and path."""
    for name, inner in (("repo", "[^/]+/[^/]+"), ("rev", "[^/]+"), ("path", ".+")):
        pattern = pattern.replace(f"{{{name}}}", f"(?P<{name}>{inner})")

    def add(function):
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


class Hub:
    """The server, which listens within its context, and raises there if a request has failed.

    Attributes:
        users: Token -> user.
        page_size: Entries in a page of a listing.
        repositories: Name -> Repository.
        objects: SHA-256 -> content that was uploaded to LFS.
        xet: The storage that clients upload to instead, or None.
        served: "user/name/path" -> bytes of that file that were sent.
        received: Path of a request -> bytes of its bodies that have arrived, complete or not.
        requests: Method, path and status of each request; status 0 is a closed connection.
        faults: Failures that a test asks for.
        on_request: Called with method and path of each request when it arrives.
        failures: Requests that have no route, or whose method has failed.
    """

    def __init__(self, users=None, page_size=1000, xet=None):
        self.users, self.page_size = users or {"hf_user": "user"}, page_size
        self.repositories, self.objects = {}, {}
        self.xet = None if xet is None else XetStorage(xet)
        self.served, self.received = Counter(), Counter()
        self.requests, self.failures, self.faults = [], [], []
        self.on_request = lambda method, path: None
        self.lock, self.busy, self.idle = threading.Lock(), 0, threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
        """Environment variables of a process that uses this as the Hub; "" is no token."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": token,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0" if self.xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def find_fault(self, method, path):
        """The fault that applies to a request that has arrived, or None."""
        self.on_request(method, path)
        with self.lock:
            return next(iter([f for f in self.faults if f.applies_to(method, path)]), None)

    @contextmanager
    def at_work(self):
        """Count a request as in progress; `idle` is set while there is none."""
        with self.lock:
            self.busy += 1
            self.idle.clear()
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1
                if not self.busy:
                    self.idle.set()

    def answer(self, request, fault=None):
        """The reply to a request."""
        try:
            request.user = self._user(request.headers.get("Authorization", ""))
            reply = self._dispatch(request, fault)
        except Refusal as refusal:
            reply = refusal.reply
        except Exception:  # noqa: BLE001  # reported at the end of the test
            self.failures.append(f"{request.method} {request.path}\n{traceback.format_exc()}")
            # Clients retry after a 500, but not after a 501.
            reply = Reply({"error": self.failures[-1]}, 501)
        self.requests.append((request.method, request.path, reply.status))
        return reply

    def _dispatch(self, request, fault):
        if fault:
            raise Refusal(fault.status, None, "fault", fault.headers)
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
        """The repository, if the user may read it, or write it."""
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
            if not name.startswith("refs/")
        ]
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha}
            for name, sha in self._find(request, repo).tags.items()
        ]
        return Reply({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    @route("POST", "/api/datasets/{repo}/branch/{rev}")
    def create_branch(self, request, repo, rev):
        found = self._find(request, repo, write=True)
        with self.lock:
            if rev in found.branches:
                raise Refusal(409, None, "Reference already exists")
            found.branches[rev] = found.sha(request.json().get("startingPoint", "main"))
        return Reply({})

    @route("POST", "/api/datasets/{repo}/tag/{rev}")
    def create_tag(self, request, repo, rev):
        found, tag = self._find(request, repo, write=True), request.json()["tag"]
        with self.lock:
            if tag in found.tags:
                raise Refusal(409, None, "Tag already exists")
            found.tags[tag] = found.sha(rev)
        return Reply({})

    # --- listings -----------------------------------------------------------------------------

    @route("GET", "/api/datasets/{repo}/tree/{rev}(?:/{path})?")
    def tree(self, request, repo, rev, path=""):
        entries = self._find(request, repo).entries(rev)
        if path and entries.get(path, {}).get("type") != "directory":
            raise Refusal(404, "EntryNotFound", "There is no such folder")
        prefix = f"{path}/" if path else ""
        below = [entry for name, entry in entries.items() if name.startswith(prefix)]
        if request.query.get("recursive", [""])[0].lower() != "true":  # clients before 1.0: True
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

    @route("GET", "/api/datasets/{repo}/commits/{rev}")
    def commits(self, request, repo, rev):
        found, history = self._find(request, repo), []
        sha = found.sha(rev)
        while sha:
            title = found.titles.get(sha, "")
            day = "2026-01-01T00:00:00.000Z"
            history.append({"id": sha, "title": title, "message": "", "authors": [], "date": day})
            sha = found.parents[sha]
        return Reply(history)

    # --- uploads ------------------------------------------------------------------------------

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request):
        assert request.json()["repoType"] == "dataset", request.body
        return Reply({"errors": [], "warnings": []})

    @route("POST", "/api/datasets/{repo}/preupload/{rev}")
    def preupload(self, request, repo, rev):
        found = self._find(request, repo, write=not self._is_for_pull_request(request))
        there, files = found.commits[found.sha(rev)], []
        for path in (file["path"] for file in request.json()["files"]):
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            oid = there[path].etag if path in there else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Reply({"files": files})

    @route("GET", "/api/datasets/{repo}/xet-read-token/{rev}")
    def xet_read_token(self, request, repo, rev):
        self._find(request, repo)
        body, headers = self.xet.token()
        return Reply(body, headers=headers)

    @route("GET", "/api/datasets/{repo}/xet-write-token/{rev}")
    def xet_write_token(self, request, repo, rev):
        self._find(request, repo, write=not self._is_for_pull_request(request))
        return self.xet_read_token(request, repo, rev)

    def _is_for_pull_request(self, request):
        return request.query.get("create_pr", ["0"])[0] in ("1", "True", "true")

    @route("POST", r"/datasets/{repo}\.git/info/lfs/objects/batch")
    def lfs_batch(self, request, repo):
        self._find(request, repo)  # files of pull requests come from users who may not write
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
        pull_request = self._is_for_pull_request(request)
        found = self._find(request, repo, write=not pull_request)
        header, *operations = map(json.loads, request.body.splitlines())
        assert header["key"] == "header", header
        with self.lock:
            parent = found.sha(rev)
            if header["value"].get("parentCommit", parent) != parent:
                raise Refusal(412, None, "A commit has happened since")
            files = dict(found.commits[parent])
            for operation in operations:
                self._apply(files, operation["key"], operation["value"])
            branch = f"refs/pr/{len(found.branches)}" if pull_request else rev
            sha = found.commit(branch, header["value"]["summary"], files)
        found.titles[sha] = header["value"]["summary"]
        page = f"{self.url}/datasets/{repo}"
        more = {"pullRequestUrl": f"{page}/discussions/{branch[8:]}"} if pull_request else {}
        return Reply(
            {"success": True, "commitOid": sha, "commitUrl": f"{page}/commit/{sha}", **more}
        )

    def _apply(self, files, operation, value):
        path = value["path"].rstrip("/")
        if operation == "file":
            files[path] = File(base64.b64decode(value["content"], validate=True), lfs=False)
        elif operation == "lfsFile":
            files[path] = self._stored(path, value["oid"])
        elif operation in ("deletedFile", "deletedFolder"):
            start = f"{path}/" if operation == "deletedFolder" else None
            gone = [p for p in files if (p.startswith(start) if start else p == path)]
            if not gone:
                raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
            for name in gone:
                del files[name]
        else:
            raise LookupError(f"unknown operation {operation!r}")

    def _stored(self, path, sha256):
        if sha256 in self.objects:
            return File(self.objects[sha256], lfs=True)
        found = self.xet and self.xet.read(sha256)
        if not found:
            raise Refusal(400, None, f"{path}: its content has not been uploaded")
        return File(found[1], lfs=True, xet=found[0])

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
        if file.xet:
            token = f"{self.url}/api/datasets/{repo}/xet-read-token/{sha}"
            headers |= {"X-Xet-Hash": file.xet, "Link": f'<{token}>; rel="xet-auth"'}
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
