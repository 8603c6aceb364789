# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges: fixtures for the tools that are not ours, and for the corpora of real images.

A tool that is missing skips its tests, but fails them where the environment variable CI is set. Imports nothing but
pytest, as the engine's tests also run where there is no Ansible.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORACLES = Path(os.environ.get("VMIMAGE_ORACLES", ROOT / ".cache/oracles/bin"))
FIXTURES = {
    *("program", "installed", "listen", "boot_qemu", "boot_kernel"),
    *("qemu_img", "qemu_io", "qemu_img_system", "seven_zip", "oslo_inspector", "python_source"),
}


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items):
    for item in items:
        for marker in ("guests", "glance"):
            if marker in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("oracle")


def pytest_make_parametrize_id(val, argname):
    """Long bytes make no name: they may hold the time, and then the workers do not agree on what the tests are called."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def _missing(what):
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must not do without", pytrace=False)
    pytest.skip(what)


def _program(*names, first=None):
    """Path of the first of these programs that is found, in the folder `first` or on PATH."""
    path = os.environ.get("PATH", os.defpath)
    for name in names:
        found = shutil.which(name, path=f"{first}{os.pathsep}{path}" if first else path)
        if found:
            return found
    return _missing(f"no {names[0]} here (tests/tools/oracles gets it)")


@pytest.fixture(scope="session")
def program():
    """program(name) gives the path of another tool that the distribution has."""
    return _program


@pytest.fixture(scope="session")
def installed():
    """installed(path) gives the path of another file that the distribution has."""
    return lambda path: Path(path) if Path(path).exists() else _missing(f"no {path} here (tests/tools/oracles gets it)")


@pytest.fixture(scope="session")
def qemu_img():
    """Path of qemu-img, version 10 or what else tests/tools/oracles found new enough."""
    return _program("qemu-img", first=ORACLES)


@pytest.fixture(scope="session")
def qemu_io():
    """Path of the qemu-io that goes with qemu_img."""
    return _program("qemu-io", first=ORACLES)


@pytest.fixture(scope="session")
def qemu_img_system():
    """Path of the distribution's own qemu-img."""
    return _program("qemu-img")


@pytest.fixture(scope="session")
def seven_zip():
    """Path of 7-Zip's command, a reader of disk images that owes nothing to QEMU."""
    return _program("7zz", "7z")


@pytest.fixture(scope="session")
def oslo_inspector():
    """The module by which Glance, Nova and Cinder judge an image."""
    try:
        return importlib.import_module("oslo_utils.imageutils.format_inspector")
    except ImportError as error:
        return _missing(f"no oslo.utils here ({error})")


@pytest.fixture(scope="session")
def python_source():
    """python_source("nova") gives the folder of a package that is installed, to read it; python_source("glance", "etc/…") one of its data."""

    def python_source(name, data=None):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            return _missing(f"no {name} here (tests/requirements/vocabulary.txt has it)")
        return Path(sys.prefix, data) if data else Path(found.locate_file(name))

    return python_source


def _listen(arguments, marker, timeout):
    """What a guest says on the serial line up to `marker`, or until it is off or has had its time."""
    # TCG always: a KVM that is there may still not work inside a virtual machine. -snapshot: the image stays as it is.
    command = [_program("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-accel", "tcg", "-display", "none", "-serial", "stdio"]
    end = time.monotonic() + timeout
    said = b""
    with subprocess.Popen([*command, "-no-reboot", "-snapshot", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as guest:
        try:
            while marker.encode() not in said and time.monotonic() < end:
                if select.select([guest.stdout], [], [], 0.2)[0]:
                    data = os.read(guest.stdout.fileno(), 65536)
                    if not data:
                        break
                    said += data
        finally:
            guest.kill()
    return said.decode("ascii", "replace")


def _boot(image, driver, marker, timeout, *arguments):
    """What a guest says on the serial line up to `marker`, which has to come in time."""
    drive = f"if=virtio,format={driver},file={str(image).replace(',', ',,')}"
    text = _listen(["-machine", "q35", "-drive", drive, *arguments], marker, timeout)
    if marker not in text:
        pytest.fail(f"{image} did not say {marker!r} within {timeout} s, but: {text[-500:]!r}", pytrace=False)
    return text


@pytest.fixture(scope="session")
def listen():
    """listen(arguments, marker, timeout) starts QEMU and returns what the guest says, at most up to `marker`."""
    return _listen


@pytest.fixture(scope="session")
def boot_qemu():
    """boot(image, driver, marker) boots a disk and returns what it says; `driver` is QEMU's name of the format."""
    return lambda image, driver, marker, timeout=60: _boot(image, driver, marker, timeout, "-m", "256")


@pytest.fixture(scope="session")
def boot_kernel():
    """boot(kernel, ramdisk, image, command_line, marker) boots a kernel directly, with a raw image as its only disk."""

    def boot(kernel, ramdisk, image, command_line, marker, timeout=300):
        initrd = ["-initrd", ramdisk] if ramdisk else []
        return _boot(image, "raw", marker, timeout, "-m", "768", "-kernel", kernel, *initrd, "-append", command_line)

    return boot


@pytest.fixture(scope="session")
def guests():
    """The folder with the disks of tests/tools/build_guests, which ./dev test guests makes."""
    folder = Path(os.environ.get("VMIMAGE_GUESTS", ROOT / ".cache/guests"))
    if not folder.is_dir():
        return _missing("no guests here (tests/tools/build_guests makes them)")
    return folder


@pytest.fixture(scope="session")
def glance_folder(tmp_path_factory):
    """Folder of a real Glance that was started for this, and converts what is imported to raw; ./dev test glance makes what it runs in."""
    tool = ROOT / "tests/tools/glance"
    if not (ROOT / ".cache/glance/wanted").exists():
        _missing("no Glance here (tests/tools/glance install makes its environment)")
    _program("qemu-img")  # that of the distribution converts
    folder = tmp_path_factory.mktemp("glance") / "server"
    subprocess.run([sys.executable, tool, "start", folder, "--convert", "raw"], stdout=subprocess.DEVNULL, check=True)
    try:
        yield folder
    finally:
        subprocess.run([sys.executable, tool, "stop", folder], check=True)


@pytest.fixture(scope="session")
def glance(glance_folder):
    """URL of that Glance."""
    return (glance_folder / "url").read_text()


@pytest.fixture(scope="session")
def shared():
    """The folder with the corpora of real images, which lies beside a checkout or does not: CI included."""
    folder = Path(os.environ.get("VMIMAGE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}")
    return folder
