"""A Xet storage in a folder, which the real client writes to and reads from (`local://`).

The client keeps content in chunks under hashes of its own, and leaves a shard for each upload
that it finished: a file that says, among other things, which SHA-256 a Xet hash stands for.
"""

import shutil
import struct
import time
from pathlib import Path

ENTRY = 48  # bytes of every header and entry of a shard
END = b"\xff" * 32  # instead of a hash: a list ends
HAS_PROOFS, HAS_SHA256 = 1 << 31, 1 << 30


class XetStorage:
    """Finds and reads what clients have uploaded."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.clear()

    def clear(self):
        """Make it new; clients find it laid out, since one that is killed meanwhile spoils it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._open()

    def _open(self):
        import hf_xet

        # Only one process at a time may have it open: it is closed when this is forgotten.
        return hf_xet.XetSession().new_download_stream_group(
            endpoint=self.url, token="xet", token_expiry_unix_secs=int(time.time()) + 3600
        )

    @property
    def url(self):
        return f"local://{self.folder}"

    def token(self):
        """What a client is told that asks for access: as headers, and as JSON."""
        expiry = int(time.time()) + 3600
        headers = {
            "X-Xet-Cas-Url": self.url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(expiry),
        }
        return {"casUrl": self.url, "accessToken": "xet", "exp": expiry}, headers

    def uploads(self):
        """Of each upload that was finished: SHA-256 -> (Xet hash, size), and new bytes."""
        shards = (self.folder / "xet" / "xorbs" / "shards").glob("*.mdb")
        return [_read_shard(shard.read_bytes()) for shard in shards]

    def files(self):
        """SHA-256 -> (Xet hash, size) of every file whose upload was finished."""
        return {sha256: file for files, _ in self.uploads() for sha256, file in files.items()}

    def read(self, sha256):
        """Xet hash and content of a file, or None if it is not there."""
        import hf_xet

        if sha256 not in (files := self.files()):
            return None
        found, size = files[sha256]
        content = b"".join(self._open().download_stream(hf_xet.XetFileInfo(found, size)))
        return found, content


def _read_shard(shard):
    at, files, new_bytes = ENTRY, {}, 0
    while shard[at : at + 32] != END:
        name = _hexadecimal(shard[at : at + 32])
        flags, count = struct.unpack_from("<II", shard, at + 32)
        at += ENTRY
        size = sum(struct.unpack_from("<I", shard, at + ENTRY * i + 36)[0] for i in range(count))
        at += ENTRY * count * (2 if flags & HAS_PROOFS else 1)
        if flags & HAS_SHA256:
            files[_hexadecimal(shard[at : at + 32])] = (name, size)
            at += ENTRY
    at += ENTRY
    while shard[at : at + 32] != END:  # blocks of chunks that were not there before
        count, size = struct.unpack_from("<II", shard, at + 36)
        new_bytes += size
        at += ENTRY * (1 + count)
    return files, new_bytes


def _hexadecimal(raw):
    """How Xet spells a hash: four numbers, each with its last byte first."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))
