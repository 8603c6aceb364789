# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that are made in several runs."""

from __future__ import annotations

import os

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, BusyError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.resumable import ResumableSink, partial_path, remove_partial


@pytest.fixture
def dest(tmp_path):
    return str(tmp_path / "disk.img")


def write(dest, data, note=None, commit=False):
    """One run; gives what it found."""
    with ResumableSink(dest) as sink:
        found = sink.size, sink.note
        if note is not None:
            sink.remember(note)
        sink.write_at(sink.size, data)
        if commit:
            sink.commit()
    return found


def test_in_three_runs(tmp_path, dest):
    assert write(dest, b"one", {"of": "it"}) == (0, {})
    assert write(dest, b"two") == (3, {"of": "it"})
    assert not os.path.exists(dest)
    assert sorted(os.listdir(tmp_path)) == [".disk.img.partial", ".disk.img.partial.json"]
    assert write(dest, b"three", commit=True) == (6, {"of": "it"})
    assert (tmp_path / "disk.img").read_bytes() == b"onetwothree"
    assert os.listdir(tmp_path) == ["disk.img"]


def test_bytes_without_a_note_are_worth_nothing(tmp_path, dest):
    write(dest, b"one")
    assert os.listdir(tmp_path) == []
    for note in ("", "[]", "{", "[" * 100_000):
        (tmp_path / ".disk.img.partial").write_bytes(b"one")
        (tmp_path / ".disk.img.partial.json").write_text(note)
        assert write(dest, b"two") == (0, {})
        assert os.listdir(tmp_path) == []


def test_begun_anew(tmp_path, dest):
    write(dest, b"one", {"of": "it"})
    with ResumableSink(dest) as sink:
        sink.restart()
        assert sink.size == 0
    assert os.listdir(tmp_path) == []


def test_one_at_a_time(tmp_path, dest):
    with ResumableSink(dest) as sink:
        sink.remember({"of": "it"})
        sink.write_at(0, b"one")
        with pytest.raises(BusyError):
            ResumableSink(dest)
        remove_partial(dest)
        assert os.path.exists(partial_path(dest))
        sink.commit()
    remove_partial(dest)
    assert os.listdir(tmp_path) == ["disk.img"]


def test_removed(tmp_path, dest):
    write(dest, b"one", {"of": "it"})
    remove_partial(dest)
    assert os.listdir(tmp_path) == []


def test_what_somebody_else_put_there(tmp_path, dest):
    (tmp_path / "precious").write_bytes(b"theirs")
    os.link(tmp_path / "precious", partial_path(dest))
    assert write(dest, b"one", {"of": "it"}) == (0, {})
    os.unlink(partial_path(dest))
    os.symlink(tmp_path / "precious", partial_path(dest))
    with pytest.raises(AccessError):
        ResumableSink(dest)
    remove_partial(dest)
    assert (tmp_path / "precious").read_bytes() == b"theirs"
