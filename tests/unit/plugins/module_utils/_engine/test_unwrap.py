# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From stored bytes to an image: which is read as it comes, which is unpacked, and which is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.unwrap import Unwrapper

COMPRESS = {"gzip": lambda data: gzip.compress(data, 1), "xz": lambda data: lzma.compress(data, preset=0), "bzip2": bz2.compress}
NOWHERE = "/nonexistent/folder"


@contextlib.contextmanager
def unwrapped(data, folder=NOWHERE, *, unpack=True, max_size=None, **kwargs):
    with contextlib.ExitStack() as opened:
        unwrapper = Unwrapper("the path", opened, spool_folder=str(folder), max_size=max_size, unpack=unpack)
        reader, found = unwrapper.image(Memory(data, "stored"), **kwargs)
        yield reader, found, unwrapper.layers


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("name", ["raw", "qcow2", "vmdk"])
def test_what_is_compressed(images, tmp_path, codec, name):
    data = COMPRESS[codec](getattr(images, name).read_bytes())
    before = len(os.listdir("/proc/self/fd"))
    with unwrapped(data, tmp_path) as (reader, found, layers):
        assert (reader.format, found.best.format, layers) == (name, "raw" if name == "raw" else name, [{"format": codec}])
        assert reader.read_at(0, reader.virtual_size) == images.content
        assert reader.storage.sequential == (name == "raw")
        assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before
    if name == "raw":
        with unwrapped(data) as (reader, _found, _layers):
            assert reader.read_at(0, reader.virtual_size) == images.content
    else:
        with pytest.raises(AccessError, match="unpack the compressed image there"), unwrapped(data):
            pass
        with unwrapped(data, unpack=False) as (reader, _found, _layers):  # a look at its headers
            assert (reader.virtual_size, reader.storage.sequential) == (len(images.content), True)


def test_what_is_not_compressed_is_read_where_it_is(images):
    for name in ("raw", "qcow2", "vmdk"):
        with unwrapped(getattr(images, name).read_bytes()) as (reader, _found, layers):
            assert (reader.format, layers) == (name, [])
            assert reader.read_at(0, reader.virtual_size) == images.content


def test_a_declared_format(images):
    with unwrapped(images.gz.read_bytes(), declared="raw") as (reader, _found, _layers):
        assert reader.format == "raw"
    with pytest.raises(InvalidImage), unwrapped(images.gz.read_bytes(), declared="qcow2"):
        pass


def test_what_is_no_image(images):
    text = images.text.read_bytes()
    for data in (text, gzip.compress(text)):
        with pytest.raises(InvalidImage), unwrapped(data, allow_raw=False):
            pass


def test_what_is_compressed_twice(images):
    for inner in COMPRESS:
        with pytest.raises(UnsupportedImage, match=f"compressed twice .*{inner}"), unwrapped(gzip.compress(COMPRESS[inner](images.content))):
            pass


def test_damage_is_found_before_anything_is_written(images):
    for data in (images.gz_cut.read_bytes(), images.gz_crc.read_bytes()):
        with pytest.raises(CorruptImage), unwrapped(data):
            pass


def test_bounds(images):
    data = images.gz.read_bytes()
    with unwrapped(data, max_size=len(images.content)) as (reader, _found, _layers):
        assert reader.virtual_size == len(images.content)
    with pytest.raises(LimitExceeded, match="more than"), unwrapped(data, max_size=len(images.content) - 1):
        pass
    zeros = gzip.compress(bytes(300 << 20), 9)
    with unwrapped(zeros) as (reader, _found, _layers):
        assert reader.virtual_size == 300 << 20
    with pytest.raises(LimitExceeded, match="max_size"), unwrapped(zeros, plausible=True):
        pass
