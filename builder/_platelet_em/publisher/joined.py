"""Several archives of the publisher as one source, for volumes that are in different ones."""

from collections.abc import Iterable, Sequence
from typing import IO

from _platelet_em.facts import DatasetSpec
from _platelet_em.publisher.archive import Identity, Source, open_source

__all__ = ["JoinedSource", "open_sources", "source_paths"]


class JoinedSource(Source):
    """Archives or folders whose files are found wherever they are.

    Args:
        sources: At least one; the first that has a file of a name gives it. `path`, `is_zip` and
            `comment` are those of the first.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self.path, self.is_zip = self.sources[0].path, self.sources[0].is_zip

    @property
    def comment(self) -> str:
        """The comment of the first source."""
        return self.sources[0].comment

    def __repr__(self) -> str:
        return f"JoinedSource({list(self.sources)})"

    def _source_of(self, name: str) -> Source:
        """The source of a file; the first, which says what is missing, if none has it."""
        return next((s for s in self.sources if s.holds([name])), self.sources[0])

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all files of these base names are in one of the sources."""
        return all(self._source_of(name).holds([name]) for name in names)

    def describe_member(self, name: str) -> str:
        """Archive and member, for messages; see `Source`."""
        return self._source_of(name).describe_member(name)

    def open(self, name: str) -> IO[bytes]:
        """Open the file of that base name for reading; see `Source`."""
        return self._source_of(name).open(name)

    def identities(self, names: Iterable[str]) -> list[Identity]:
        """The identity of each source, in their order."""
        return [source.identity(part) for source, part in self._divide(names)]

    def identity(self, names: Iterable[str]) -> Identity:
        """Identifies the content of the named files; its MD5s are joined by "+"."""
        return _join(self.identities(names))

    def check(self, expected: Identity, names: Iterable[str]) -> Identity:
        """The identity of sources that still hold what they held; see `Source`."""
        parts = list(self._divide(names))
        md5s, stamps = expected.md5.split("+"), list(expected.stamps)
        found = []
        for (source, part), md5 in zip(parts, md5s, strict=True):
            count = (1 if source.is_zip else len(part)) if stamps else 0
            found.append(source.check(Identity(md5, tuple(stamps[:count])), part))
            del stamps[:count]
        return _join(found)

    def _divide(self, names: Iterable[str]) -> list[tuple[Source, list[str]]]:
        """Each source with the files that it gives."""
        parts: dict[int, list[str]] = {i: [] for i in range(len(self.sources))}
        for name in names:
            parts[self.sources.index(self._source_of(name))].append(name)
        return [(self.sources[i], part) for i, part in parts.items()]


def source_paths(source: Source) -> tuple[str, ...]:
    """The paths of the archives of a source, by which `open_sources` opens it again."""
    parts = source.sources if isinstance(source, JoinedSource) else (source,)
    return tuple(str(part.path) for part in parts)


def open_sources(paths: Sequence[str], spec: DatasetSpec) -> Source:
    """The archives at one or more paths, as one source."""
    parts = [open_source(path, spec) for path in paths]
    return parts[0] if len(parts) == 1 else JoinedSource(parts)


def _join(identities: Sequence[Identity]) -> Identity:
    stamps = tuple(stamp for identity in identities for stamp in identity.stamps)
    return Identity("+".join(identity.md5 for identity in identities), stamps)
