# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_fetch does."""

from __future__ import annotations

import contextlib
import os
import posixpath
import time
import typing as t
import urllib.parse

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import IntegrityFailure, LimitExceeded, SpaceError, UnsupportedImage, from_os_error, printable
from .._engine.packages import checksums
from .._engine.progress import Progress
from .._engine.source import source_identity
from .._engine.storage.base import Storage
from .._engine.storage.file import FileStorage
from .._engine.storage.resumable import ResumableSink, remove_partial
from .._engine.storage.sink import Sink
from .._engine.storage.spool import data_runs
from .._engine.transfer.digest import ALGORITHMS, digests, new_hash, parse_checksum
from .destination import Destination
from .web import Client, Download, FromTheBeginning, SourceError, Version, is_remote, local_path, shown
from .incoming import PIECE, Hashes, Incoming, LocalFile, Origin, content
from .run import Result

_ENDINGS = (".gz", ".xz", ".bz2", ".zst")
_BOOT = "/proc/sys/kernel/random/boot_id"
_AS_IT_IS = "what is there is the file already"


def fetch_image(module: AnsibleModule, progress: Progress) -> Result:
    """image_fetch."""
    params = module.params
    began = time.monotonic()
    urls = [params["url"], *params["mirrors"]]
    local = [local_path(url) for url in urls if not is_remote(url)]
    client = Client(params, urls[0])
    wanted = _wanted(params, client)
    params["dest"] = _place(params["dest"], urls[0], params["decompress"])
    for path in local:
        if os.path.exists(params["dest"]) and os.path.exists(path) and os.path.samefile(path, params["dest"]):
            raise UnsupportedImage("url and dest are the same file", path=path, hint="Write to another file")
    request: dict[str, t.Any] = {"decompress": params["decompress"]}
    if wanted is not None:
        request["checksum"] = ":".join(wanted)  # wherever the bytes come from
    else:
        request["urls"] = [shown(url) for url in urls]
        request["files"] = [source_identity(path) for path in local]
    fetch = _Fetch(module, client, Destination(module, request), wanted, progress)
    fetch.recall()
    for number, url in enumerate(urls, 1):
        if fetch.result:
            break
        try:
            fetch.fetch(url)
        except (SourceError, IntegrityFailure) as error:
            if number == len(urls):
                raise
            module.warn(f"{error}. The next mirror is tried")
    return {**fetch.finish(), "elapsed": round(time.monotonic() - began, 1)}


def _wanted(params: dict[str, t.Any], client: Client) -> tuple[str, str] | None:
    """The checksum that the file must have: algorithm and digest; looked up where the option says.

    :raises UnsupportedImage: the option says nothing that is known
    :raises ImageError: the list of checksums cannot be had, or says nothing of the file
    """
    text = params["checksum"]
    if text is None:
        return None
    first, colon, rest = text.partition(":")
    algorithm = first.strip().lower() if colon and first.strip().lower() in ALGORITHMS else None
    place = rest.strip() if algorithm else text.strip()
    if "://" not in place and not place.startswith("/"):
        return parse_checksum(text, shown(params["url"]))
    if is_remote(place):
        data = client.small(place, checksums.MAX_PUBLISHED)
    else:
        with contextlib.closing(FileStorage(local_path(place))) as storage:
            data = storage.read_at(0, checksums.MAX_PUBLISHED + 1)
    name = None if os.path.isdir(params["dest"]) else os.path.basename(params["dest"])
    entry = checksums.published(data, shown(place), _path(params["url"]), name, algorithm)
    new_hash(entry.algorithm)
    return entry.algorithm, entry.digest


def _path(url: str) -> str:
    """The path of a file, on its server or here."""
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path) if is_remote(url) else local_path(url)


def _place(dest: str, url: str, decompress: bool) -> str:
    """The file to write; in a folder it is called as it is published, without the ending of the compression that is taken off."""
    if not os.path.isdir(dest):
        return dest
    name = posixpath.basename(_path(url))
    stem, ending = posixpath.splitext(name)
    name = stem if decompress and ending.lower() in _ENDINGS else name
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UnsupportedImage("dest is a folder, and the URL gives the file no name", path=shown(url), hint="Name the file in dest")
    return os.path.join(dest, name)


class _Same(Exception):
    """What was fetched is what is there."""


class _Fetch:
    """Brings one file to its place, from one of several origins."""

    def __init__(self, module: AnsibleModule, client: Client, dest: Destination, wanted: tuple[str, str] | None, progress: Progress) -> None:
        self._module = module
        self._params = module.params
        self._client = client
        self._dest = dest
        self._wanted = wanted
        self._progress = progress
        self._reason: str | None = None
        """why the file has to be written, as far as that is known without the file"""
        self._recalled: Result = {}
        self._run: Result = {"status": None, "transferred": 0, "resumed_at": None}
        """what is true of this run only"""
        self.result: Result = {}

    def recall(self) -> None:
        """See what can be said without asking for the file."""
        dest, params = self._dest, self._params
        recalled = dest.recall()
        if recalled is not None and (self._wanted is not None or _is_known(recalled["src"])):
            self.result = recalled
        elif recalled is not None:
            self._recalled = recalled
        elif not dest.exists:
            self._reason = "dest does not exist"
        elif params["force"]:
            self._reason = "force is set"
        elif self._wanted is not None and not params["decompress"]:
            algorithm, digest = self._wanted
            with contextlib.closing(FileStorage(dest.path)) as storage:
                found = digests(storage, [algorithm], progress=self._progress)[algorithm]
                length = storage.size
            if found == digest:
                src = shown(params["url"])
                self._unchanged(
                    "dest has this checksum already", {"src": src, "url": src, **_facts(Version(None, None, length)), "checksums": {algorithm: found}}
                )
            else:
                self._reason = f"the {algorithm} checksum of dest is {found}, not {digest}"

    def fetch(self, url: str) -> None:
        """Have the file from this origin, if it is not there already.

        :raises SourceError: the origin does not give it
        :raises IntegrityFailure: it gives something else
        """
        params = self._params
        origin: Origin
        if is_remote(url):
            origin = Download(self._client, url, params["retries"], provable=self._wanted is not None)
        else:
            origin = LocalFile(local_path(url))
        src = shown(url)
        unless = None
        if self._recalled.get("src") == src:
            unless = Version(self._recalled["etag"], self._recalled["last_modified"], None)
        with contextlib.closing(origin):
            needed = origin.start(unless=unless)
            self._run["status"] = origin.status
            if not needed:
                self.result = {**self._recalled, "msg": "the server says that the file was not changed since it was fetched"}
                return
            self._require_acceptable(origin.version.length)
            reason = self._reason or self._difference_in_length(origin.version.length)
            if self._module.check_mode:
                self._predict(src, origin, reason)
            else:
                self._write(src, origin, reason)

    def finish(self) -> Result:
        """The result, complete. What failed runs have left beside the file is gone."""
        params, dest = self._params, self._dest
        result = self.result
        if not self._module.check_mode:
            remove_partial(dest.path)
        if not (self._module.check_mode and result["changed"]):
            missing = [name for name in params["checksums"] if name not in result["checksums"]]
            if missing:
                with contextlib.closing(FileStorage(dest.path)) as storage:
                    result["checksums"] = {**result["checksums"], **digests(storage, missing, progress=self._progress)}
        return {**dest.finish(result), **self._run}

    def _predict(self, src: str, origin: Origin, reason: str | None) -> None:
        """What a run outside check mode will do. Where nothing else tells, by reading the file up to where it differs."""
        if reason is None:
            with contextlib.closing(FileStorage(self._dest.path)) as there:
                while True:
                    try:
                        reason = _difference(self._content(origin, Hashes(()), Hashes(())), there)
                        break
                    except FromTheBeginning:
                        continue
            self._run["transferred"] = origin.received
        facts = {"src": src, "url": origin.url, **_facts(origin.version), "checksums": {}}
        if reason is None:
            self._unchanged(_AS_IT_IS, facts)
            return
        self._require_room(origin, 0)
        self._dest.plan([], [origin.url] if isinstance(origin, LocalFile) else [])
        self._changed(reason, facts)

    def _write(self, src: str, origin: Origin, reason: str | None) -> None:
        facts: Result = {"src": src}
        reasons = [reason]

        def write(sink: Sink) -> None:
            facts["checksums"] = self._receive(src, origin, sink)
            if reason is None:
                with contextlib.closing(sink.reopen()) as new, contextlib.closing(FileStorage(self._dest.path)) as there:
                    reasons[0] = _difference(_pieces(new), there)
            if reasons[0] is None:
                _restart(sink)
                raise _Same

        self._dest.plan([], [origin.url] if isinstance(origin, LocalFile) else [])
        try:
            # What is decompressed on the way cannot go on in the middle, and a copy on this node need not.
            self._dest.replace(write, Sink if self._params["decompress"] or isinstance(origin, LocalFile) else ResumableSink)
        except _Same:
            pass
        finally:
            self._run.update(status=origin.status, transferred=origin.received)
        facts.update(url=origin.url, **_facts(origin.version._replace(length=origin.position)))
        if reasons[0] is None:
            self._unchanged(_AS_IT_IS, facts)
        else:
            self._changed(reasons[0], facts)

    def _receive(self, src: str, origin: Origin, sink: Sink) -> dict[str, str]:
        """Fill the file, and verify it.

        :returns: the checksums of the file that are known by then
        """
        resumed = isinstance(sink, ResumableSink) and isinstance(origin, Download) and self._resume(src, origin, sink)
        self._run["resumed_at"] = origin.position if resumed else None
        self._require_room(origin, origin.position)
        try:
            while True:
                if not origin.position:
                    _restart(sink)
                    if isinstance(sink, ResumableSink):
                        sink.remember(_note(src, origin.version))
                try:
                    return self._fill(origin, sink)
                except FromTheBeginning:
                    self._run["resumed_at"] = None
                except IntegrityFailure:
                    if self._run["resumed_at"] is None:
                        raise
                    # What an earlier run has left is not what it should be.
                    self._run["resumed_at"] = None
                    origin.close()
                    origin.start()
        except (IntegrityFailure, LimitExceeded, SpaceError):
            _restart(sink)  # it would not help the next run; and a full file system is everybody's
            raise

    def _resume(self, src: str, origin: Download, sink: ResumableSink) -> bool:
        """Go on behind what an earlier run has left, if that is a part of the very same file."""
        version = origin.version
        note = sink.note
        if not note or sink.size > (version.length or sink.size) or {**note, "boot": None} != {**_note(src, version), "boot": None}:
            return False
        # After a crash of the machine a part may read as zeros; only a checksum tells.
        if self._wanted is None and note["boot"] != _boot():
            return False
        origin.close()
        origin.start(sink.size, version)
        return origin.position > 0

    def _fill(self, origin: Origin, sink: Sink) -> dict[str, str]:
        """Write what comes from the origin behind what is there, and verify all of it."""
        params, position = self._params, origin.position
        stored = Hashes({*([self._wanted[0]] if self._wanted else []), *(() if params["decompress"] else params["checksums"])})
        written = Hashes(params["checksums"] if params["decompress"] else ())
        if position:
            sink.truncate(position)
            with contextlib.closing(sink.reopen()) as before:
                for piece in _pieces(before):
                    stored.update(piece)
        sparse = params["decompress"] or isinstance(origin, LocalFile)
        for piece in self._content(origin, stored, written):
            for start, end in data_runs(piece) if sparse else [(0, len(piece))]:
                sink.write_at(position + start, memoryview(piece)[start:end])
            position += len(piece)
        sink.truncate(position)
        if self._wanted is not None:
            algorithm, digest = self._wanted
            found = stored.result()[algorithm]
            if found != digest:
                raise IntegrityFailure(
                    f"the {algorithm} checksum is {found}, not {digest}",
                    path=origin.url,
                    hint="Check the expected value, or whether the file is still being published",
                )
        return written.result() if params["decompress"] else stored.result()

    def _content(self, origin: Origin, stored: Hashes, written: Hashes) -> t.Iterator[bytes]:
        for piece in content(Incoming(origin, stored, self._progress), self._params["decompress"], self._params["max_size"], origin.position):
            written.update(piece)
            yield piece

    def _difference_in_length(self, length: int | None) -> str | None:
        """Why the file at dest is another one for sure; only where it is stored as it is published."""
        if length is None or self._params["decompress"]:
            return None
        there = os.path.getsize(self._dest.path)
        return f"dest has {there} bytes, the file {length}" if there != length else None

    def _require_acceptable(self, length: int | None) -> None:
        most = self._params["max_size"]
        if most is not None and length is not None and length > most and not self._params["decompress"]:
            raise LimitExceeded(f"has {length} bytes, more than {most}", path=shown(self._params["url"]), hint="Raise max_size if that is meant")

    def _require_room(self, origin: Origin, there: int) -> None:
        """Refuse what certainly does not fit.

        :param there: bytes that need no more room
        :raises SpaceError: it does not
        """
        if self._params["decompress"]:
            return
        folder = os.path.dirname(os.path.abspath(self._dest.path))
        try:
            room = os.statvfs(folder)
        except OSError as error:
            raise from_os_error(error, folder, "look at the file system") from error
        needed = origin.allocated if isinstance(origin, LocalFile) else (origin.version.length or 0) - there
        free = room.f_bavail * room.f_frsize
        if needed > free:
            raise SpaceError(f"the file needs {needed} bytes, the file system has {free} free", path=folder, hint="Free some space or choose another folder")

    def _unchanged(self, message: str, facts: Result) -> None:
        self.result = {**facts, "verified": self._verified(), "changed": False, "msg": message}

    def _changed(self, reason: str, facts: Result) -> None:
        after = {key: facts[key] for key in ("url", "length", "etag", "last_modified")}
        before = {"content": printable(reason)} if self._dest.exists else {}
        self.result = {**facts, "verified": self._verified(), "changed": True, "msg": reason, "diff": {"before": before, "after": after}}

    def _verified(self) -> str | None:
        return ":".join(self._wanted) if self._wanted else None


def _is_known(src: str) -> bool:
    """Whether a file is on this node, and was seen to be the same by its times."""
    return not is_remote(src) and source_identity(local_path(src)) is not None


def _facts(version: Version) -> Result:
    return version._asdict()


def _note(src: str, version: Version) -> Result:
    """What a part of a file is a part of."""
    return {"src": src, **_facts(version), "boot": _boot()}


def _boot() -> str | None:
    """What names the time since the machine was started."""
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _restart(sink: Sink) -> None:
    if isinstance(sink, ResumableSink):
        sink.restart()
    else:
        sink.truncate(0)


def _pieces(storage: Storage) -> t.Iterator[bytes]:
    for position in range(0, storage.size, PIECE):
        yield storage.read_exact(position, min(PIECE, storage.size - position), "the file")


def _difference(new: t.Iterable[bytes], there: Storage) -> str | None:
    """Where some bytes are not those of a file; None when they are."""
    position = 0
    for piece in new:
        found = there.read_at(position, len(piece))
        if found != piece:
            at = next((index for index, (one, other) in enumerate(zip(found, piece)) if one != other), min(len(found), len(piece)))
            return f"dest differs from the file at byte {position + at:#x}"
        position += len(piece)
    return None if position == there.size else f"dest has {there.size} bytes, the file {position}"
