"""A Xet storage in a folder, which the real client writes and reads (`local://`).

The client stores content in chunks under hashes of its own, and a shard for each finished upload:
a file that lists, among other things, the SHA-256 of each file and its Xet hash.
"""

import shutil
import struct
import time
from pathlib import Path

ENTRY = 48  # bytes of each header and entry of a shard
END = b"\xff" * 32  # instead of a hash: end of a list
HAS_PROOFS, HAS_SHA256 = 1 << 31, 1 << 30


class XetStorage:
    """Lists and reads the uploads of clients."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.clear()

    def clear(self):
        """Empty it, and create its structure: a client killed while doing that would spoil it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._open()

    def _open(self):
        import hf_xet

        # One process at a time may have it open; it is closed when the result is deleted.
        return hf_xet.XetSession().new_download_stream_group(
            endpoint=self.url, token="xet", token_expiry_unix_secs=int(time.time()) + 3600
        )

    @property
    def url(self):
        return f"local://{self.folder}"

    def token(self):
        """The answer to a client that asks for access: as JSON, and as headers."""
        expiry = int(time.time()) + 3600
        headers = {
            "X-Xet-Cas-Url": self.url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(expiry),
        }
        return {"casUrl": self.url, "accessToken": "xet", "exp": expiry}, headers

    def uploads(self):
        """Of each finished upload: SHA-256 -> (Xet hash, size), and the number of new bytes."""
        shards = (self.folder / "xet" / "xorbs" / "shards").glob("*.mdb")
        return [_read_shard(shard.read_bytes()) for shard in shards]

    def files(self):
        """SHA-256 -> (Xet hash, size) of each file whose upload has finished."""
        return {sha256: file for files, _ in self.uploads() for sha256, file in files.items()}

    def read(self, sha256):
        """Xet hash and content of a file, None if there is no such file."""
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
    while shard[at : at + 32] != END:  # blocks of new chunks
        count, size = struct.unpack_from("<II", shard, at + 36)
        new_bytes += size
        at += ENTRY * (1 + count)
    return files, new_bytes


def _hexadecimal(raw):
    """A hash as Xet writes it: four little-endian 64-bit numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))
