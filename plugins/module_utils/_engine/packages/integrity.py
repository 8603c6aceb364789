# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is wrong with a package's manifest and certificate, as far as one can see without reading the files.

Source: DMTF DSP0243, "Integrity and authenticity of OVF packages".
"""

from __future__ import annotations

import collections
import posixpath
import typing as t

from ..errors import ImageError, LimitExceeded, printable
from ..limits import MAX_OVF
from .container import Container, inside
from .manifest import Manifest, parse_manifest
from .model import PackageWarning

_SHA1 = "sha1"


def integrity(
    container: Container, descriptor: str, manifest_file: str | None, certificate_file: str | None, listed: t.Container[str]
) -> t.Iterator[PackageWarning]:
    """All warnings about manifest and certificate.

    :param listed: names of the files of References
    """
    for name in (manifest_file, certificate_file):
        if name is not None and posixpath.splitext(name)[0] != posixpath.splitext(descriptor)[0]:
            yield PackageWarning("base_name_differs", f"{printable(name)!r} is not named as the descriptor {printable(descriptor)!r} is", name)
    if manifest_file is None:
        if certificate_file is None:
            yield PackageWarning("no_manifest", "the package has no manifest", descriptor)
        else:
            yield PackageWarning("certificate_without_manifest", "the certificate signs a manifest that is not there", certificate_file)
        return
    try:
        data = _read(container, manifest_file)
        manifest = parse_manifest(data, manifest_file)
    except ImageError as error:
        yield PackageWarning("manifest_malformed", error.message, manifest_file)
        return
    yield from _manifest(manifest, container, descriptor, (manifest_file, certificate_file), listed)
    if certificate_file is not None:
        yield from _signature(container, data, manifest_file, certificate_file)


def _manifest(manifest: Manifest, container: Container, descriptor: str, own: tuple[str | None, ...], listed: t.Container[str]) -> t.Iterator[PackageWarning]:
    where = manifest.file
    if manifest.nonstandard:
        yield PackageWarning("manifest_grammar", f"line {manifest.nonstandard[0]} is not written as the standard has it: SHA256(name)= digest", where)
    algorithms = collections.defaultdict(set)
    digests = collections.defaultdict(list)
    for entry in manifest.entries:
        algorithms[entry.file].add(entry.algorithm)
        digests[entry.file, entry.algorithm].append(entry.digest)
    weak = [file for file, used in algorithms.items() if used == {_SHA1}]
    if weak:
        yield PackageWarning("weak_digest", f"{printable(weak[0])!r} has no digest but SHA-1", where)
    for (file, algorithm), found in digests.items():
        if len(found) > 1:
            agree = "the same" if len(set(found)) == 1 else "different digests"
            yield PackageWarning("manifest_duplicate", f"{printable(file)!r} is listed {len(found)} times with {algorithm.upper()}, and {agree}", where)
    for file in algorithms:
        name = posixpath.join(posixpath.dirname(descriptor), inside(file) or "")
        if not container.has(name):
            continue  # whether it is missing is for who verifies
        if name in own:
            yield PackageWarning("manifest_lists_itself", f"{printable(file)!r} cannot have a digest in it", where)
        elif name != descriptor and name not in listed:
            yield PackageWarning("manifest_extra_file", f"{printable(file)!r} is not in References", where)


def _signature(container: Container, manifest: bytes, manifest_file: str, certificate_file: str) -> t.Iterator[PackageWarning]:
    from .signature import read_signature

    try:
        signature = read_signature(_read(container, certificate_file), certificate_file)
    except ImageError as error:
        yield PackageWarning("signature_malformed", error.message, certificate_file)
        return
    if signature.manifest_name != posixpath.basename(manifest_file):
        message = f"the signature is said to be of {printable(signature.manifest_name)!r}, but the manifest is {printable(manifest_file)!r}"
        yield PackageWarning("base_name_differs", message, certificate_file)
    if signature.algorithm == _SHA1:
        yield PackageWarning("weak_digest", "the signature is one of a SHA-1 digest", certificate_file)
    verified, reason = signature.verify(manifest)
    if not verified:
        yield PackageWarning("signature_not_tried" if verified is None else "signature_invalid", reason, certificate_file)


def _read(container: Container, name: str) -> bytes:
    """:raises ImageError: it cannot be read, or is too large"""
    storage = container.open(name)
    try:
        if storage.size > MAX_OVF:
            raise LimitExceeded(f"the file has {storage.size} bytes; {MAX_OVF} is the most that is read", path=storage.name)
        return storage.read_exact(0, storage.size, "the file")
    finally:
        storage.close()
