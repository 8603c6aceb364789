# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version is newer, asked of dpkg and systemd as well."""

from __future__ import annotations

import random
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.versions import compare_dpkg, compare_rpm, compare_uapi

PIECES = ("1", "2", "10", "09", "0", "5.10", "6.1.0", "~rc1", "rc2", "a", "b", "amd64", "cloud", ".", "+", "~")
KERNELS = ("5.10.0-30-amd64", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.12~rc1-amd64", "6.12.1-amd64", "6.12-amd64")


def sign(number):
    return (number > 0) - (number < 0)


def pairs(seed, count):
    chance = random.Random(seed)
    for _number in range(count):
        yield tuple("".join(chance.choice(PIECES) for _piece in range(chance.randint(1, 5))) for _version in range(2))


def test_as_dpkg(program):
    dpkg = program("dpkg")
    for one, other in [*pairs(1, 60), *((one, other) for one in KERNELS for other in KERNELS)]:
        # Without a revision, which dpkg would compare by itself; versions begin with a digit.
        one, other = (f"0{version.replace('-', '.')}" for version in (one, other))
        said = compare_dpkg(one, other)
        relation = "lt" if said < 0 else "gt" if said > 0 else "eq"
        done = subprocess.run([dpkg, "--compare-versions", one, relation, other], check=False, stderr=subprocess.DEVNULL)
        assert done.returncode == 0, (one, relation, other)


def test_as_systemd(program):
    systemd = program("systemd-analyze")
    for one, other in [*pairs(2, 60), *zip(KERNELS, KERNELS[1:])]:
        said = subprocess.run([systemd, "compare-versions", "--", one, other], check=False, stdout=subprocess.PIPE, text=True).stdout.split()
        assert sign(compare_uapi(one, other)) == {"<": -1, "==": 0, ">": 1}[said[-2]], said


@pytest.mark.parametrize(
    ("first", "expected", "second"),
    [  # as RPM documents them: rpm-version(7)
        ("1.0", 0, "1.0"),
        ("1.0", -1, "2.0"),
        ("2.0.1", 1, "2.0"),
        ("5.5p1", -1, "5.5p10"),
        ("10xyz", -1, "10.1xyz"),
        ("xyz.4", -1, "8"),
        ("5.5p2", -1, "5.6p1"),
        ("6.0.rc1", 1, "6.0"),
        ("10b2", 1, "10a1"),
        ("1.0aa", 1, "1.0a"),
        ("10.0001", 0, "10.1"),
        ("4.999.9", -1, "5.0"),
        ("2_0", 0, "2.0"),
        ("a+", 0, "a_"),
        ("1.0~rc1", -1, "1.0"),
        ("1.0~rc1", -1, "1.0~rc2"),
        ("1.0~rc1~git123", -1, "1.0~rc1"),
        ("1.0^", 1, "1.0"),
        ("1.0^git1", -1, "1.01"),
        ("1.0^git1", 1, "1.0"),
        ("1.0^git1~pre", -1, "1.0^git1"),
        ("1.0~rc1^git1", 1, "1.0~rc1"),
    ],
)
def test_as_rpm(first, expected, second):
    assert sign(compare_rpm(first, second)) == expected
    assert sign(compare_rpm(second, first)) == -expected
