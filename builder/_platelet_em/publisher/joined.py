"""Several archives of the publisher as one source, for volumes that are in different ones."""

from collections.abc import Iterable, Sequence
from typing import IO

from _platelet_em.facts import LABEL_SOURCES
from _platelet_em.publisher.archive import Identity, Source, archive_files, open_source
from _platelet_em.spec import Archive, DatasetSpec

__all__ = ["JoinedSource", "join_sources", "open_sources", "other_archives", "source_paths"]


class JoinedSource(Source):
    """Archives or folders, each of which gives its own files, whatever others it has.

    Args:
        sources: At least one; several may be the same folder. `path`, `is_zip` and `comment` are
            those of the first.
        names: Base names of the files that each source after the first gives; all other files are
            those of the first.
    """

    def __init__(self, sources: Sequence[Source], names: Sequence[Sequence[str]]) -> None:
        self.sources = tuple(sources)
        self._indices = {name: i for i, part in enumerate(names, 1) for name in part}
        self.path, self.is_zip = self.sources[0].path, self.sources[0].is_zip

    @property
    def comment(self) -> str:
        """The comment of the first source."""
        return self.sources[0].comment

    def __repr__(self) -> str:
        return f"JoinedSource({list(self.sources)})"

    def _source_of(self, name: str) -> Source:
        """The source that gives a file."""
        return self.sources[self._indices.get(name, 0)]

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all files of these base names are in the sources that give them."""
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
            parts[self._indices.get(name, 0)].append(name)
        return [(self.sources[i], part) for i, part in parts.items()]


def other_archives(spec: DatasetSpec) -> list[Archive]:
    """The archives of volumes that are not in the archives of the label sources."""
    return [archive for archive in spec.needed_archives if archive.name not in LABEL_SOURCES]


def join_sources(sources: Sequence[Source], spec: DatasetSpec) -> Source:
    """The archive of a label source, and those of `other_archives` in their order, as one."""
    if len(sources) == 1:
        return sources[0]
    return JoinedSource(sources, [archive_files(spec, a.name) for a in other_archives(spec)])


def source_paths(source: Source) -> tuple[str, ...]:
    """The paths of the archives of a source, by which `open_sources` opens it again."""
    parts = source.sources if isinstance(source, JoinedSource) else (source,)
    return tuple(str(part.path) for part in parts)


def open_sources(paths: Sequence[str], spec: DatasetSpec) -> Source:
    """The archives at one or more paths, as one source."""
    return join_sources([open_source(path, spec) for path in paths], spec)


def _join(identities: Sequence[Identity]) -> Identity:
    stamps = tuple(stamp for identity in identities for stamp in identity.stamps)
    return Identity("+".join(identity.md5 for identity in identities), stamps)
