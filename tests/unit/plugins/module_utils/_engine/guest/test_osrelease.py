# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which operating system is installed: the files that distributions have, as they write them."""

from __future__ import annotations

import platform

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.osrelease import identify_os, parse_assignments

SUSE_11 = "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\n"
LSB = 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\nDISTRIB_CODENAME=lucid\nDISTRIB_DESCRIPTION="Ubuntu 10.04.4 LTS"\n'

# Files of the guest → distro, version, codename in Glance's words
CASES = {
    "debian": ({"/etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12"\n'}, "debian", "12", "bookworm"),
    "debian testing": ({"/etc/os-release": "ID=debian\nVERSION_CODENAME=forky\n", "/etc/debian_version": "forky/sid\n"}, "debian", "forky", "forky"),
    "ubuntu": ({"/usr/lib/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nUBUNTU_CODENAME=noble\n'}, "ubuntu", "24.04", "noble"),
    "rhel": ({"/etc/os-release": 'ID="rhel"\nVERSION_ID="9.4"\nPRETTY_NAME="Red Hat Enterprise Linux 9.4 (Plow)"\n'}, "rhel", "9.4", None),
    "rocky": ({"/etc/os-release": 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'}, "rocky", "9.4", None),
    "oracle": ({"/etc/os-release": 'ID="ol"\nVERSION_ID="8.9"\n'}, "ol", "8.9", None),
    "leap": ({"/etc/os-release": 'ID="opensuse-leap"\nVERSION_ID="15.6"\n'}, "opensuse", "15.6", None),
    "sles": ({"/etc/os-release": 'ID="sles"\nVERSION_ID="15.5"\n'}, "sled", "15.5", None),
    "arch": ({"/etc/os-release": "ID=arch\nBUILD_ID=rolling\n"}, "arch", None, None),
    "alpine": ({"/etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n"}, "alpinelinux", "3.20.1", None),
    "cirros": ({"/etc/cirros/version": "0.6.2\n", "/etc/os-release": "ID=buildroot\nVERSION_ID=2022.02\n"}, "cirros", "0.6.2", None),
    "centos 6": ({"/etc/redhat-release": "CentOS release 6.10 (Final)\n"}, "centos", "6.10", "Final"),
    "rhel 5": ({"/etc/redhat-release": "Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n"}, "rhel", "5.11", "Tikanga"),
    "sles 11": ({"/etc/SuSE-release": SUSE_11}, "sled", "11.4", None),
    "lsb": ({"/etc/lsb-release": LSB, "/etc/debian_version": "squeeze/sid\n"}, "ubuntu", "10.04", "lucid"),
    "lsb of rhel": ({"/etc/lsb-release": "LSB_VERSION=base-4.0\n", "/etc/redhat-release": "CentOS release 6.5 (Final)\n"}, "centos", "6.5", "Final"),
    "debian 6": ({"/etc/debian_version": "6.0.10\n"}, "debian", "6.0.10", None),
    "old alpine": ({"/etc/alpine-release": "2.7.9\n"}, "alpinelinux", "2.7.9", None),
    "old arch": ({"/etc/arch-release": ""}, "arch", None, None),
    "link": ({"/etc/os-release": "-> ../usr/lib/os-release", "/usr/lib/os-release": "ID=fedora\nVERSION_ID=40\n"}, "fedora", "40", None),
}


@pytest.mark.parametrize("name", CASES)
def test_distributions(guest_tree, name):
    files, distro, version, codename = CASES[name]
    found = identify_os(Files(guest_tree(files)))
    assert (found.type, found.distro, found.version, found.codename, found.confidence) == ("linux", distro, version, codename, "high")


def test_an_unknown_release_file_is_a_linux(guest_tree):
    found = identify_os(Files(guest_tree({"/etc/redhat-release": "Something release 3 (Else)\n"})))
    assert (found.type, found.distro, found.version, found.confidence) == ("linux", None, "3", "medium")


@pytest.mark.parametrize("text", ["", "ID=\n", "ID='x y'\n", "no assignment", "ID='", "\0\0\0", "ID=" + "a" * 100])
def test_nothing_that_tells(guest_tree, text):
    assert identify_os(Files(guest_tree({"/etc/os-release": text}))) is None


def test_assignments_as_a_shell_reads_them():
    text = '# a comment\nA=plain\nB="two words"\nC=\'single $x\'\nexport D=1\nE=with\\ space\nF="open\nG=\x1b[31m\n = 3\n'
    assert parse_assignments(text) == {"A": "plain", "B": "two words", "C": "single $x", "E": "with space", "F": "open", "G": "\\x1b[31m"}


def test_as_python_reads_it(guest_tree):
    """The standard library has a reader, too, since Python 3.10."""
    if not hasattr(platform, "freedesktop_os_release"):
        pytest.skip("this Python has no reader")
    try:
        theirs = platform.freedesktop_os_release()
        text = open("/etc/os-release", encoding="utf-8").read()  # noqa: SIM115
    except OSError:
        pytest.skip("this machine has no os-release")
    ours = parse_assignments(text)
    assert ours["ID"] == theirs["ID"]
    assert ours["PRETTY_NAME"] == theirs["PRETTY_NAME"]


def test_what_is_too_large_is_noted(guest_tree):
    files = Files(guest_tree({"/etc/os-release": b"#" * (2 << 20)}))
    assert identify_os(files) is None
    assert files.warnings == ["/etc/os-release has 2097152 bytes, 65536 are looked at"]
