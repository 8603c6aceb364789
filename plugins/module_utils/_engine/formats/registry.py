# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which formats there are, what they are called, and who reads and writes them.

Drivers are imported where they are used: AnsiballZ ships what the source names, and a task that touches only qcow2 does
not compile VMDK.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..codecs import compressor as find_compressor
from ..errors import UnsupportedImage
from ..storage.base import Storage
from .base import Reader, Target, Writer

if t.TYPE_CHECKING:  # pragma: no cover
    from ..storage.sink import Sink


@dataclasses.dataclass(frozen=True)
class Format:
    """What the rest of the engine knows of a format without loading its driver."""

    name: str
    """as qemu and Glance say it; where they differ (``vhd``/``vpc``), as Glance does"""
    suffix: str
    """usual file name ending"""
    disk_format: str | None = None
    """Glance's disk_format; None: Glance does not take it"""
    description: str = ""
    """what a file is called that begins with one of ``signatures``: fits behind "this is" """
    signatures: tuple[tuple[int, bytes], ...] = ()
    """(offset in bytes, magic number) of formats that these alone tell; the others are told in probes/"""
    writable: bool = True
    subformats: tuple[str, ...] = ()
    """variants that can be written, the default first"""
    compress: tuple[str | None, ...] = ()
    """the subformats that can be written compressed (None: a format without subformats)"""
    always_compressed: tuple[str, ...] = ()
    options: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    """creation options (qemu-img's names) and their defaults"""
    implied: t.Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """option and value → the subformat that they ask for, where none is given"""


FORMATS = {
    form.name: form
    for form in (
        Format("raw", ".raw", "raw", options={"preallocation": "off"}),
        Format(
            "qcow2",
            ".qcow2",
            "qcow2",
            compress=(None,),
            options={
                "compat": "1.1",
                "cluster_size": "65536",
                "compression_type": "zlib",
                "refcount_bits": "16",
                "extended_l2": "off",
                "lazy_refcounts": "off",
                "preallocation": "off",
                "backing_file": "",
                "backing_fmt": "",
            },
        ),
        Format(
            "vmdk",
            ".vmdk",
            "vmdk",
            subformats=("monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"),
            always_compressed=("streamOptimized",),
            options={"adapter_type": "lsilogic", "hwversion": "undefined", "compat6": "off", "toolsversion": "undefined", "zeroed_grain": "off"},
        ),
        Format(
            "vdi",
            ".vdi",
            "vdi",
            "a VDI image",
            ((64, b"\x7f\x10\xda\xbe"),),
            subformats=("dynamic", "fixed"),
            options={"static": "off"},
            implied={("static", "on"): "fixed"},
        ),
        Format(
            "vhd",
            ".vhd",
            "vhd",
            "a dynamic VHD image",
            ((0, b"conectix"),),
            subformats=("dynamic", "fixed"),
            options={"force_size": "on", "block_size": "2M"},
        ),
        Format(
            "vhdx",
            ".vhdx",
            "vhdx",
            "a VHDX image",
            ((0, b"vhdxfile"),),
            subformats=("dynamic", "fixed"),
            options={"block_size": "0", "log_size": "1M", "block_state_zero": "off", "logical_sector_size": "512"},
        ),
        Format("iso", ".iso", "iso"),
        Format("qcow", ".qcow", description="a qcow (version 1) image", writable=False),
        Format("qed", ".qed", description="a QED image", signatures=((0, b"QED\0"),), writable=False),
        Format(
            "parallels",
            ".hds",
            description="a Parallels image",
            signatures=((0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")),
            writable=False,
        ),
        Format("bochs", ".img", description="a Bochs image", signatures=((0, b"Bochs Virtual HD Image"),), writable=False),
        Format("cloop", ".cloop", description="a cloop image", signatures=((0, b"#!/bin/sh\n#V2.0 Format\n"),), writable=False),
        Format("luks", ".luks", writable=False),
        Format("dmg", ".dmg", writable=False),
    )
}

ALIASES = {"vpc": "vhd", "img": "raw", "qcow3": "qcow2", "iso9660": "iso", "avhdx": "vhdx", "avhd": "vhd", "qcow1": "qcow"}


def canonical(name: str) -> str:
    """The registry's name for a format as users and other tools call it (``vpc`` → ``vhd``)."""
    lower = name.lower()
    return ALIASES.get(lower, lower)


def lookup(name: str) -> Format:
    """:raises UnsupportedImage: no driver has that name"""
    form = FORMATS.get(canonical(name))
    if form is None:
        raise UnsupportedImage(f"no format is called {name!r} (there are: {', '.join(sorted(FORMATS))})")
    return form


def target(name: str, subformat: str | None = None, compress: bool = False, options: t.Mapping[str, str] | None = None, compressor: str = "zlib") -> Target:
    """What to write, checked and with the defaults filled in.

    :param name: format, or an alias of it
    :param subformat: variant; the format's default when None
    :param compress: store the content compressed
    :param options: creation options, name → value
    :param compressor: what deflates; see deflate.py
    :raises UnsupportedImage: the format, variant or option does not exist or cannot be written
    """
    form = FORMATS.get(canonical(name))
    if form is None or not form.writable:
        known_ones = ", ".join(sorted(known.name for known in FORMATS.values() if known.writable))
        what = f"no format is called {name!r}" if form is None else f"{form.name} images are read, not written"
        raise UnsupportedImage(f"{what} (there are: {known_ones})")
    known = {sub.lower(): sub for sub in form.subformats}
    if subformat is None:
        subformat = next((implied for asked, implied in form.implied.items() if asked in dict(options or {}).items()), None)
    if subformat is None:
        chosen = form.subformats[0] if form.subformats else None
    elif subformat.lower() in known:
        chosen = known[subformat.lower()]
    else:
        raise UnsupportedImage(f"{form.name} cannot be written as {subformat!r} (it has: {', '.join(form.subformats) or 'no subformats'})")
    if chosen in form.always_compressed:
        compress = True
    elif compress and chosen not in form.compress:
        raise UnsupportedImage(f"{form.name}{' ' + chosen if chosen else ''} cannot be compressed")
    given = dict(options or {})
    unknown = sorted(set(given) - set(form.options))
    if unknown:
        raise UnsupportedImage(f"{form.name} has no option {', '.join(unknown)} (it has: {', '.join(sorted(form.options)) or 'none'})")
    wanted = Target(form.name, chosen, compress, {**form.options, **given}, compressor)
    _check_options(wanted)
    _check_compressor(wanted)
    return wanted


def _check_compressor(wanted: Target) -> None:
    """:raises UnsupportedImage: there is nothing for the compressor to do, or it is not there"""
    if wanted.compressor != "zlib":
        if not wanted.compress or wanted.options.get("compression_type", "zlib") != "zlib":
            raise UnsupportedImage(f"the compressor {wanted.compressor} has nothing to do where nothing is deflated")
        find_compressor(wanted.compressor, 6, 15)


def _check_options(wanted: Target) -> None:
    """:raises UnsupportedImage: an option has a value that is not possible; told before the source is opened"""
    if wanted.format == "qcow2":
        from .qcow2.options import read_options

        read_options(wanted)
    elif wanted.format == "vmdk":
        from .vmdk.descriptor import Options

        Options.of(wanted)
    elif wanted.format == "raw":
        from .raw import preallocation

        preallocation(wanted)
    elif wanted.format == "vdi":
        from .vdi.writer import check_options

        check_options(wanted)
    elif wanted.format == "vhd":
        from .vhd.options import Options as VhdOptions

        VhdOptions.of(wanted)
    elif wanted.format == "vhdx":
        from .vhdx.options import Options as VhdxOptions

        VhdxOptions.of(wanted)


def open_reader(name: str, storage: Storage) -> Reader:
    """Open a storage as a given format.

    :raises ImageError: the storage is not a sound image of that format
    :raises UnsupportedImage: nothing reads the format
    """
    form = lookup(name).name
    if form == "raw":
        from .raw import RawReader

        return RawReader(storage)
    if form == "qcow2":
        from .qcow2.reader import Qcow2Reader

        return Qcow2Reader(storage)
    if form == "vmdk":
        from .vmdk.reader import open_vmdk

        return open_vmdk(storage)
    if form == "vdi":
        from .vdi.reader import VdiReader

        return VdiReader(storage)
    if form == "vhd":
        from .vhd.reader import VhdReader

        return VhdReader(storage)
    if form == "vhdx":
        from .vhdx.reader import VhdxReader

        return VhdxReader(storage)
    if form == "dmg":
        from .dmg.reader import DmgReader

        return DmgReader(storage)
    if form == "luks":
        from .luks.reader import LuksReader

        return LuksReader(storage)
    if form == "qcow":
        from .qcow.reader import QcowReader

        return QcowReader(storage)
    if form == "qed":
        from .qed.reader import QedReader

        return QedReader(storage)
    if form == "parallels":
        from .parallels.reader import ParallelsReader

        return ParallelsReader(storage)
    if form == "bochs":
        from .bochs.reader import BochsReader

        return BochsReader(storage)
    if form == "cloop":
        from .cloop.reader import CloopReader

        return CloopReader(storage)
    from .iso.reader import IsoReader

    return IsoReader(storage)


def create_writer(wanted: Target, sink: Sink, virtual_size: int) -> Writer:
    """A writer that leaves an image of ``virtual_size`` guest bytes in ``sink``.

    :raises UnsupportedImage: the format cannot hold such a disk
    """
    if wanted.format == "qcow2":
        from .qcow2.writer import create

        return create(sink, virtual_size, wanted)
    if wanted.format == "vmdk":
        if wanted.subformat == "streamOptimized":
            from .vmdk.stream_writer import StreamOptimizedWriter

            return StreamOptimizedWriter(sink, virtual_size, wanted)
        if wanted.subformat == "monolithicSparse":
            from .vmdk.sparse_writer import SparseWriter

            return SparseWriter(sink, virtual_size, wanted)
        from .vmdk import split_writer

        return split_writer.create(sink, virtual_size, wanted)
    if wanted.format == "vdi":
        from .vdi.writer import VdiWriter

        return VdiWriter(sink, virtual_size, wanted)
    if wanted.format == "vhd":
        from .vhd.writer import VhdWriter

        return VhdWriter(sink, virtual_size, wanted)
    if wanted.format == "vhdx":
        from .vhdx.writer import VhdxWriter

        return VhdxWriter(sink, virtual_size, wanted)
    from .raw import RawWriter  # an ISO is copied as it is

    return RawWriter(sink, virtual_size, wanted)
