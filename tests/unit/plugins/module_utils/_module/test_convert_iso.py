# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_convert makes of an ISO: nothing, the same ISO, or the disk that a hybrid is as well."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess

import pytest

testing = pytest.importorskip("ansible.module_utils.testing")

from ansible_collections.vmimage.prep.plugins.modules import image_convert  # noqa: E402


@pytest.fixture
def convert(tmp_path):
    """convert(src, dest, **options) runs the module in this process, and gives its result."""

    def convert(src, dest, **options):
        said = io.StringIO()
        arguments = {"src": str(src), "dest": str(dest), "_ansible_remote_tmp": str(tmp_path), **options}
        with testing.patch_module_args(arguments), contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            image_convert.main()
        return json.loads(said.getvalue())

    return convert


@pytest.fixture
def discs(tmp_path, program):
    """Two discs with isolinux: one that boots as a CD only, and a hybrid."""
    folder = tmp_path / "tree"
    (folder / "isolinux").mkdir(parents=True)
    (folder / "isolinux/isolinux.bin").write_bytes(bytes(4096))
    (tmp_path / "mbr").write_bytes(b"\xfa\x33\xc0".ljust(432, b"\x90"))
    boot = ["-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4"]
    for name, options in {"plain.iso": [], "hybrid.iso": ["-isohybrid-mbr", tmp_path / "mbr"]}.items():
        command = [program("xorriso"), "-as", "mkisofs", "-quiet", "-R", *boot, *options, "-o", tmp_path / name, folder]
        subprocess.run(command, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("name", ["plain.iso", "hybrid.iso"])
@pytest.mark.parametrize("options", [{}, {"iso": "refuse"}])
def test_refused(convert, discs, name, options):
    result = convert(discs / name, discs / "out.qcow2", format="qcow2", **options)
    assert result["failed"]
    assert result["error"]["kind"] == "unsupported"
    assert "install media, not a disk" in result["msg"]
    assert not (discs / "out.qcow2").exists()


@pytest.mark.parametrize("name", ["plain.iso", "hybrid.iso"])
@pytest.mark.parametrize("options", [{"format": "iso"}, {"format": "qcow2", "iso": "keep"}, {"format": "raw", "iso": "keep", "virtual_size": 1 << 30}])
def test_kept(convert, discs, name, options):
    for changed in (True, False):
        result = convert(discs / name, discs / "out", **options)
        assert (result.get("failed"), result["changed"]) == (None, changed), result["msg"]
        assert result["image"]["format"] == "iso"
        assert (discs / "out").read_bytes() == (discs / name).read_bytes()


@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk"])
def test_a_hybrid_as_a_disk(convert, discs, qemu_img, form):
    for changed in (True, False):
        result = convert(discs / "hybrid.iso", discs / "out", format=form, iso="disk")
        assert (result.get("failed"), result["changed"]) == (None, changed), result["msg"]
        assert result["openstack"]["disk_format"] == form
    done = subprocess.run([qemu_img, "compare", "-f", "raw", "-F", form, discs / "hybrid.iso", discs / "out"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_without_the_record_the_content_decides(convert, discs):
    convert(discs / "hybrid.iso", discs / "out", format="raw", iso="disk")
    (discs / ".out.provenance.json").unlink()
    assert not convert(discs / "hybrid.iso", discs / "out", format="raw", iso="disk")["changed"]


def test_what_is_no_hybrid_is_no_disk(convert, discs):
    result = convert(discs / "plain.iso", discs / "out", format="raw", iso="disk")
    assert "is no hybrid: it boots as a CD only" in result["msg"]
    assert not (discs / "out").exists()


def test_a_hybrid_that_is_cut_off(convert, discs):
    (discs / "cut.iso").write_bytes((discs / "hybrid.iso").read_bytes()[:-200_000])
    for options in ({"format": "qcow2", "iso": "disk"}, {"format": "iso"}):
        result = convert(discs / "cut.iso", discs / "out", **options)
        assert result["error"]["kind"] == "corrupt", result["msg"]
        assert not (discs / "out").exists()


def test_a_disk_is_no_matter_of_the_option(convert, discs, qemu_img):
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", discs / "disk.qcow2", "3M"], check=True)
    for iso in ("refuse", "keep", "disk"):
        assert convert(discs / "disk.qcow2", discs / f"{iso}.raw", format="raw", iso=iso)["image"]["format"] == "raw"
        assert (discs / f"{iso}.raw").read_bytes() == bytes(3 << 20)
