# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Nova, Cinder and Ironic do with an image when they have fetched it, by their own code, without what else makes a service of them.

A module of theirs runs as it is, but for its imports: the standard library and oslo.utils are real, and all the rest is a stand-in.
The image is a file here, every command is run by this user, and the configuration is the default.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock


class Refused(Exception):
    """What each of their exceptions is here."""

    def __init__(self, reason: object = "", **_about: object) -> None:
        super().__init__(str(reason))


class CommandFailed(Exception):
    """oslo_concurrency's ProcessExecutionError."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


class Exceptions:
    """A module of exceptions, with any that is asked for."""

    def __getattr__(self, _name: str) -> type[Refused]:
        return Refused


def load(path: Path, **stand_ins: object) -> t.Any:
    """A module of theirs.

    :param stand_ins: name that the module imports → what it is here; any other import of theirs is a mock
    """
    tree = ast.parse(path.read_text())
    module = ModuleType(path.stem)
    names = module.__dict__
    names["_"] = str
    kept = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            root = (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
            if root.partition(".")[0] not in {*sys.stdlib_module_names, "oslo_utils"}:
                for alias in node.names:
                    names.setdefault(alias.asname or alias.name.partition(".")[0], MagicMock())
                continue
        kept.append(node)
    tree.body = kept
    names.update(stand_ins)
    exec(compile(tree, str(path), "exec"), names)  # pylint: disable=exec-used
    return module


class Services:
    """The three, for files in a folder of their own.

    :param source: name of a package → the folder of its source
    """

    def __init__(self, source: t.Callable[[str], Path], folder: Path, qemu_img: str) -> None:
        self.folder, self.qemu_img = folder, qemu_img
        self.image: dict[str, str] = {}
        self.file = folder
        self.nova = self._load_nova(source("nova"))
        self.cinder = self._load_cinder(source("cinder"))
        self.ironic = self._load_ironic(source("ironic"))

    def ask(self, service: str, path: Path, disk_format: str, container_format: str) -> str | None:
        """Why the service refuses an image; None when it has made a disk of it.

        :param service: ``nova``, ``cinder`` or ``ironic``. The disk is one of an instance or a bare machine, and no kernel: Nova (libvirt's driver,
            fetch_raw_image) and Ironic (pxe_utils, TFTPImageCache) do not look at those
        """
        self.file, self.image = path, {"disk_format": disk_format, "container_format": container_format, "size": str(path.stat().st_size)}
        disk = self.folder / "disk"
        try:
            getattr(self, f"_ask_{service}")(str(disk))
        except (Refused, CommandFailed) as error:
            return str(error) or type(error).__name__
        except Exception as error:  # pylint: disable=broad-exception-caught  # their code fails: so would the service
            return f"{type(error).__name__}: {error}"
        finally:
            for left in self.folder.iterdir():
                left.unlink()
        return None

    def _run(self, *command: str, **_how: object) -> tuple[str, str]:
        words = [self.qemu_img if word == "qemu-img" else str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout, done.stderr

    def _fetch(self, path: str) -> None:
        shutil.copyfile(self.file, path)

    def _load_nova(self, folder: Path) -> t.Any:
        def info(path: str, format: str | None = None) -> str:  # pylint: disable=redefined-builtin
            return self._run("qemu-img", "info", path, "--output=json", *(["-f", format] if format else []))[0]

        def convert(source: str, dest: str, in_format: str, out_format: str, *_more: object, **_options: object) -> None:
            self._run("qemu-img", "convert", "-t", "writeback", "-O", out_format, "-f", in_format, source, dest)

        nova = MagicMock()
        nova.privsep.qemu.unprivileged_qemu_img_info, nova.privsep.qemu.unprivileged_convert_image = info, convert
        nova.conf.CONF.compute.vmdk_allowed_types = ["streamOptimized", "monolithicSparse"]
        nova.conf.CONF.force_raw_images, nova.conf.CONF.workarounds.disable_deep_image_inspection = True, False
        errors = SimpleNamespace(ProcessExecutionError=CommandFailed)
        images = load(folder / "virt/images.py", nova=nova, exception=Exceptions(), processutils=errors)
        images.fetch = lambda _context, _image, path, _certificates: self._fetch(path)
        images.IMAGE_API.get = lambda _context, _image: self.image
        return images

    def _ask_nova(self, disk: str) -> None:
        self.nova.fetch_to_raw(None, "image", disk)

    def _load_cinder(self, folder: Path) -> t.Any:
        @contextlib.contextmanager
        def temporary_file(*_arguments: object, **_options: object) -> t.Iterator[str]:
            path = self.folder / "download"
            path.touch()
            yield str(path)

        def unpack(path: str, **_options: object) -> None:
            with gzip.open(path) as packed:
                content = packed.read()
            Path(path).write_bytes(content)

        privsep = MagicMock()
        privsep.privsep.sys_admin_pctxt.entrypoint = lambda function: function
        inspector = load(folder / "image/format_inspector.py")
        checked = load(folder / "privsep/format_inspector.py", cinder=privsep, format_inspector=inspector)
        cinder = MagicMock()
        cinder.privsep.format_inspector = checked
        config = MagicMock()
        config.CONF.image_introspection_address_space_limit = 1
        config.CONF.image_conversion_disable, config.CONF.allow_compression_on_image_upload = False, True
        config.CONF.vmdk_allowed_types = ["streamOptimized", "monolithicSparse"]
        utils = SimpleNamespace(execute=self._run, is_blk_device=lambda _path: False)
        errors = SimpleNamespace(ProcessExecutionError=CommandFailed, ProcessLimits=MagicMock())
        accelerator = load(folder / "image/accelerator.py")
        accelerator.ImageAccel = lambda path, _dest: SimpleNamespace(decompress_img=lambda **_options: unpack(path))
        stand_ins = {"cinder": cinder, "cfg": config, "utils": utils, "processutils": errors, "exception": Exceptions(), "accelerator": accelerator}
        images = load(folder / "image/image_utils.py", **stand_ins)
        images.temporary_file = temporary_file
        images.fetch = lambda _context, _service, _image, path, *_who: self._fetch(path)
        images.TemporaryImages = SimpleNamespace(for_image_service=lambda _service: SimpleNamespace(get=lambda *_which: None))
        return images

    def _ask_cinder(self, disk: str) -> None:
        self.cinder.fetch_to_raw(None, SimpleNamespace(show=lambda _context, _image: self.image), "image", disk, 1 << 20, run_as_root=False)

    def _load_ironic(self, folder: Path) -> t.Any:
        config = MagicMock()
        config.image_download_concurrency = 1
        config.conductor.disable_deep_image_inspection = False
        config.conductor.permitted_image_formats = ["raw", "gpt", "qcow2", "iso"]

        def convert(source: str, dest: str, out_format: str, source_format: str) -> None:
            self._run("qemu-img", "convert", "-O", out_format, "-f", source_format, source, dest)

        images = load(folder / "common/images.py", CONF=config, exception=Exceptions(), qemu_img=SimpleNamespace(convert_image=convert))
        images.fetch = lambda _context, _image, path, **_options: self._fetch(path)
        images.image_show = lambda _context, _image, **_options: self.image
        cache = load(folder / "drivers/modules/image_cache.py", CONF=config, exception=Exceptions(), images=images)
        cache._clean_up_caches = lambda _folder, _amount: None
        return cache

    def _ask_ironic(self, disk: str) -> None:
        self.ironic._fetch(None, "image", disk, force_raw=True, expected_format=self.image["disk_format"])
        if not os.path.exists(disk):
            raise Refused("no disk")
