# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UEC tarballs: what is what in the layouts of the field, and in what somebody made to deceive."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile

import pytest
from build_uec import MIB, build_disk, build_filesystem, build_kernel, build_ramdisk, layouts, pack, write_files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AmbiguousImage,
    CorruptImage,
    ImageError,
    IntegrityFailure,
    InvalidImage,
    LimitExceeded,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.uec import open_uec, source_files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.uec_names import matching, names, prefix_of

ROLES = {
    "ubuntu": {
        "server-amd64.img": "image",
        "server-amd64-vmlinuz-virtual": "kernel",
        "server-amd64-loader": "loader",
        "server-amd64-disk1.img": "disk",
        "README.files": "other",
    },
    "ubuntu-initrd": {"old-i386.img": "image", "old-i386-vmlinuz-server": "kernel", "old-i386-initrd-server": "ramdisk", "MD5SUMS": "checksums"},
    "cirros": {"cirros-1.0-x86_64-blank.img": "image", "cirros-1.0-x86_64-vmlinuz": "kernel", "cirros-1.0-x86_64-initrd": "ramdisk"},
    "ec2": {"aki-1/image": "kernel", "ari-1/image": "ramdisk", "ami-1/image": "image"},
}


def build_tarball(path, files, mode="w:gz"):
    """By Python: no program need be there."""
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def unpack(path, folder, **options):
    folder.mkdir(exist_ok=True)
    with open_uec(str(path), **options) as uec:
        planned = plan(uec, str(folder))
        extract(uec, str(folder), planned)
        return uec, planned


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["w:gz", "w", "w:xz", "folder"])
@pytest.mark.parametrize("layout", ROLES)
def test_the_layouts_of_the_field(tmp_path, layout, kind):
    files = layouts()[layout]
    if kind == "folder":
        source = tmp_path / "source"
        write_files(source, files)
    else:
        source = build_tarball(tmp_path / "source.tar.gz", files, kind)
    uec, planned = unpack(source, tmp_path / "out")
    assert {file.name: file.role for file in uec.files} == ROLES[layout]
    assert contents(tmp_path / "out") == files
    assert {file.reason for file in planned} == {"does not exist"}
    trio = {role: file.name if file else None for role, file in uec.trio().items()}
    assert trio == {role: next((name for name, found in ROLES[layout].items() if found == role), None) for role in ("kernel", "ramdisk", "image")}
    _uec, again = unpack(source, tmp_path / "out")
    assert {file.reason for file in again} == {None}
    assert len(source_files(str(source))) == (len(files) if kind == "folder" else 1)


@pytest.mark.parametrize("ending", ["tar.gz", "tar", "tar.xz", "tar.bz2", "tar.zst"])
def test_tarballs_of_gnu_tar(program, tmp_path, ending):
    program("tar")
    if ending == "tar.zst":
        program("zstd")
    files = layouts()["ubuntu-initrd"]
    write_files(tmp_path / "in", files)
    with open(tmp_path / "in/old-i386.img", "r+b") as file:
        file.truncate(16 * MIB)  # with a hole, which tar leaves out
    pack(tmp_path / "in", tmp_path / f"x.{ending}", "--sparse")
    if ending == "tar.xz":
        with pytest.raises(IntegrityFailure, match=r"old-i386\.img"):  # which MD5SUMS has as it was
            unpack(tmp_path / f"x.{ending}", tmp_path / "out")
        assert contents(tmp_path / "out") == {}
        return
    (tmp_path / "in/MD5SUMS").unlink()
    pack(tmp_path / "in", tmp_path / f"x.{ending}", "--sparse")
    unpack(tmp_path / f"x.{ending}", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    assert os.stat(tmp_path / "out/old-i386.img").st_blocks * 512 < 8 * MIB


def test_content_decides(tmp_path):
    """Names that say something else, and two images of which one is a disk."""
    files = {"a-initrd": build_kernel(), "a-vmlinuz": build_ramdisk(), "a-disk1.img": build_disk(), "z.bin": build_filesystem()}
    uec, _planned = unpack(build_tarball(tmp_path / "x.tar.gz", files), tmp_path / "out")
    assert {file.name: file.role for file in uec.files} == {"a-initrd": "kernel", "a-vmlinuz": "ramdisk", "a-disk1.img": "disk", "z.bin": "image"}
    assert uec.trio()["image"].name == "z.bin"


def test_several_of_a_role(tmp_path):
    files = {"a-vmlinuz-virtual": build_kernel(), "a-kernel": build_kernel(2), "a.img": build_filesystem()}
    with open_uec(str(build_tarball(tmp_path / "x.tar", files, "w"))) as uec:
        assert uec.chosen("kernel").name == "a-vmlinuz-virtual"
    files["a-vmlinuz-ec2"] = build_kernel(3)
    with open_uec(str(build_tarball(tmp_path / "x.tar", files, "w"))) as uec:
        with pytest.raises(AmbiguousImage, match="2 files could be the kernel"):
            uec.trio()
        assert uec.trio(["a-vmlinuz-ec2", "a.img"])["kernel"].name == "a-vmlinuz-ec2"


def test_kernels_that_are_cut_off(tmp_path):
    files = {"a-vmlinuz": build_kernel()[:5000], "a.img": build_filesystem()}
    with open_uec(str(build_tarball(tmp_path / "x.tar", files, "w"))) as uec:
        assert [(file.role, "cut off" in file.finding.description) for file in uec.files] == [("other", True), ("image", False)]


def test_what_is_no_such_tarball(tmp_path):
    for name, files, match in (
        ("disk", {"disk.img": build_disk()}, "no kernel, ramdisk or image"),
        ("text", {"README": b"hello"}, "README"),
        ("many", {f"f{number}": b"" for number in range(1001)}, "1001 files"),
    ):
        build_tarball(tmp_path / name, files)
        with pytest.raises(InvalidImage, match=match):
            open_uec(str(tmp_path / name))
    (tmp_path / "plain").write_bytes(build_disk())
    with pytest.raises(InvalidImage, match="not a UEC tarball"):
        open_uec(str(tmp_path / "plain"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidImage, match="no UEC tarball"):
        open_uec(str(tmp_path / "folder"))


def test_traps(tmp_path):
    """Links, devices and names that lead elsewhere are left out; two files of one name are not taken."""
    kernel = build_kernel()
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind, target in (
            ("a-vmlinuz", tarfile.REGTYPE, ""),
            ("../b-vmlinuz", tarfile.REGTYPE, ""),
            ("/c-vmlinuz", tarfile.REGTYPE, ""),
            (".x.tar.provenance.json", tarfile.REGTYPE, ""),
            ("a.img", tarfile.SYMTYPE, "/etc/shadow"),
            ("b.img", tarfile.LNKTYPE, "a-vmlinuz"),
            ("d", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = len(kernel) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(kernel))
    uec, _planned = unpack(tmp_path / "x.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a-vmlinuz": kernel}
    assert sorted(uec.ignored) == ["../b-vmlinuz", ".x.tar.provenance.json", "/c-vmlinuz", "a.img", "b.img", "d"]
    assert sorted(os.listdir(tmp_path)) == ["out", "x.tar"]
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for _time in range(2):
            member = tarfile.TarInfo("a-vmlinuz")
            member.size = len(kernel)
            tar.addfile(member, io.BytesIO(kernel))
    with pytest.raises(AmbiguousImage, match="two members"):
        open_uec(str(tmp_path / "twice.tar"))


def test_links_in_a_folder(tmp_path):
    write_files(tmp_path / "in", {"a-vmlinuz": build_kernel()})
    (tmp_path / "in/a.img").symlink_to("/etc/hostname")
    (tmp_path / "in/.hidden.img").write_bytes(build_filesystem())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/image").write_bytes(build_kernel())
    (tmp_path / "in/aki-2").symlink_to(tmp_path / "elsewhere")
    unpack(tmp_path / "in", tmp_path / "out")
    assert list(contents(tmp_path / "out")) == ["a-vmlinuz"]


def test_bombs(tmp_path):
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", 9) as file:
        member = tarfile.TarInfo("a.img")
        member.size = 300 * MIB
        file.write(member.tobuf())
        for _number in range(300):
            file.write(bytes(MIB))
        file.write(bytes(10240))
    with pytest.raises(LimitExceeded, match="max_size"):
        open_uec(str(tmp_path / "bomb.tar.gz"))
    with open_uec(str(tmp_path / "bomb.tar.gz"), max_size=301 * MIB) as uec:
        assert uec.files[0].finding.description == "blank"


@pytest.mark.parametrize("ending", [".sha256", ".md5", ""])
def test_checksums(tmp_path, ending):
    files = {"a-vmlinuz": build_kernel(), "a.img": build_filesystem()}
    algorithm = ending[1:] or "sha512"
    digest = hashlib.new(algorithm, files["a.img"]).hexdigest()
    name = f"a.img{ending}" if ending else "SUMS"
    files[name] = (digest if ending == ".md5" else f"# sums\n\n{digest} *a.img\n{digest}  elsewhere\n").encode()
    build_tarball(tmp_path / "x.tar.gz", files)
    uec, _planned = unpack(tmp_path / "x.tar.gz", tmp_path / "out")
    assert uec.verify_used().files == ["a.img"]
    files["a.img"] = build_filesystem(seed=2)
    build_tarball(tmp_path / "x.tar.gz", files)
    with pytest.raises(IntegrityFailure):
        unpack(tmp_path / "x.tar.gz", tmp_path / "other")
    assert contents(tmp_path / "other") == {}


def test_damage_is_told(tmp_path):
    """Each byte that is changed gives an error of ours, or the right content."""
    files = layouts()["ec2"]
    files["ami-1/image"] = build_filesystem(MIB // 4)
    whole = build_tarball(tmp_path / "x.tar.gz", files).read_bytes()
    choose = random.Random(5)
    refused = 0
    for number in range(40):
        data = bytearray(whole)
        if number % 4:
            data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        else:
            del data[choose.randrange(len(data)) :]
        (tmp_path / "damaged").write_bytes(data)
        out = tmp_path / f"out{number}"
        try:
            unpack(tmp_path / "damaged", out)
        except ImageError:
            refused += 1
            assert contents(out) == {}
        else:
            assert contents(out) == files
    assert refused > 25


def test_uncompressed_damage(tmp_path):
    files = {"a-vmlinuz": build_kernel(), "a.img": build_filesystem(MIB // 4)}
    whole = build_tarball(tmp_path / "x.tar", files, "w").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:100_000])
    with pytest.raises(CorruptImage, match="cut"):
        open_uec(str(tmp_path / "x.tar"))


def test_other_names(tmp_path):
    """Kernel, ramdisk and image under the names that devstack looks for; compared with the checksums as before, and nothing else comes."""
    files = layouts()["ubuntu-initrd"]
    tarball = build_tarball(tmp_path / "old.tar.gz", files)
    (tmp_path / "out").mkdir()
    with open_uec(str(tarball)) as uec:
        described = uec.describe()
        uec.rename("new-1.0")
        assert uec.describe() == described  # by the names in the tarball
        assert sorted(uec.contents()) == ["new-1.0-initrd", "new-1.0-vmlinuz", "new-1.0.img"]
        assert {role: file.name for role, file in uec.trio().items()} == {"kernel": "new-1.0-vmlinuz", "ramdisk": "new-1.0-initrd", "image": "new-1.0.img"}
        verified = extract(uec, str(tmp_path / "out"), plan(uec, str(tmp_path / "out")))
    assert sorted(verified) == ["new-1.0-vmlinuz", "new-1.0.img"]
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {
        "new-1.0-vmlinuz": files["old-i386-vmlinuz-server"],
        "new-1.0-initrd": files["old-i386-initrd-server"],
        "new-1.0.img": files["old-i386.img"],
    }


def test_other_names_do_not_hide_damage(tmp_path):
    files = layouts()["ubuntu-initrd"]
    tarball = build_tarball(tmp_path / "old.tar.gz", {**files, "old-i386-vmlinuz-server": build_kernel(7)})
    (tmp_path / "out").mkdir()
    with open_uec(str(tarball)) as uec:
        uec.rename("new")
        planned = plan(uec, str(tmp_path / "out"))
        with pytest.raises(IntegrityFailure, match="new-vmlinuz"):
            extract(uec, str(tmp_path / "out"), planned)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("left_out", "missing"), [("old-i386.img", "image"), ("old-i386-vmlinuz-server", "kernel")])
def test_other_names_are_for_all_of_a_trio(tmp_path, left_out, missing):
    files = {name: data for name, data in layouts()["ubuntu-initrd"].items() if name not in (left_out, "MD5SUMS")}
    with open_uec(str(build_tarball(tmp_path / "old.tar", files, "w"))) as uec, pytest.raises(InvalidImage, match=f"has no {missing}"):
        uec.rename("new")


def test_other_names_that_would_not_do(tmp_path):
    with open_uec(str(build_tarball(tmp_path / "old.tar", layouts()["cirros"], "w"))) as uec, pytest.raises(InvalidImage, match="for the kernel"):
        uec.rename("a-vmlinuz")


class TestNames:
    def test_prefix(self):
        assert prefix_of("/x/server-amd64.tar.gz") == "server-amd64"
        assert prefix_of("cirros-0.6-uec.tgz") == "cirros-0.6"
        for name in ("server.tar", ".tar.gz", "server"):
            with pytest.raises(InvalidImage, match="ending"):
                prefix_of(name)

    def test_styles(self):
        assert names("s", style="ubuntu", flavour="virtual", ramdisk=True) == {
            "kernel": "s-vmlinuz-virtual",
            "ramdisk": "s-initrd-virtual",
            "image": "s.img",
        }
        assert names("s", style="cirros", flavour=None, ramdisk=True) == {"kernel": "s-vmlinuz", "ramdisk": "s-initrd", "image": "s-blank.img"}
        assert names("s", style="ec2", flavour=None, ramdisk=False) == {"kernel": "aki-s/image", "image": "ami-s/image"}

    @pytest.mark.parametrize(("prefix", "flavour"), [("x-vmlinuz-1", None), ("x-initrd", None), ("x", "y.img"), ("x", "a-initrd")])
    def test_names_that_programs_would_take_for_something_else(self, prefix, flavour):
        with pytest.raises(InvalidImage, match="programs would take"):
            names(prefix, style="ubuntu", flavour=flavour, ramdisk=True)

    @pytest.mark.parametrize("prefix", ["", "a/b", "-a", ".a", "a b", "a*", "ü", "a\n"])
    def test_names_that_are_not_plain(self, prefix):
        with pytest.raises(InvalidImage, match="shells"):
            names(prefix, style="ubuntu", flavour=None, ramdisk=True)

    def test_patterns_are_devstack_s(self, program, tmp_path):
        """Its own loops, run by the shell."""
        there = ["b.img", "a-disk1.img", "a.img", ".c.img", "ami-1/image", "ami-x/sub/image", "xami-1/image", "a-vmlinuz-1", "aki-1/image", "a-initrd"]
        for name in there:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        for role, patterns in (("kernel", "*-vmlinuz* aki-*/image"), ("ramdisk", "*-initrd* ari-*/image"), ("image", "*.img ami-*/image")):
            script = f'for f in {patterns}; do [ -f "$f" ] && echo "$f"; done; true'
            said = subprocess.run([program("bash"), "-c", script], cwd=tmp_path, env={"LC_ALL": "C"}, stdout=subprocess.PIPE, check=True).stdout
            assert matching(there, role) == said.decode().split()
