# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the collection, one session for each part. ./dev test runs them and sets up what they need."""

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / ".cache"
ORACLES = CACHE / "oracles/bin"
REQUIREMENTS = ROOT / "tests/requirements"
COLLECTION = "vmimage/prep"
ENGINE_TESTS = "tests/unit/plugins/module_utils/_engine"
CI = bool(os.environ.get("CI"))

# ansible-core: the oldest supported and the newest, each with a Python that it runs on.
CORES = {"2.19.14": "3.11", "2.21.5": "3.12"}
TARGETS = ["3.9", "3.10", "3.11", "3.12", "3.13"]
HERE = [python for python in TARGETS if shutil.which(f"python{python}")]
ARTIFACT_LIMIT = 2 * 1000 * 1000

nox.options.default_venv_backend = "uv"
nox.options.envdir = CACHE / "nox"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False  # reported as not run; see tests/tools/summary.py
nox.options.sessions = ["lint", "docs", "examples", "units", "targets", "guests", "glance", "sanity", "integration", "molecule", "awx", "package"]

each_core = nox.parametrize("python,core", [nox.param(python, core, id=f"core-{core}") for core, python in CORES.items()])


@nox.session
def lint(session):
    """Style, types, documentation, licences."""
    session.install("-r", REQUIREMENTS / "lint.txt")
    failed = []
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "-p", "ansible_collections.vmimage.prep.plugins"],
        ["shellcheck", "dev", ".ci/run", "tests/tools/need", "tests/tools/oracles"],
        ["reuse", "lint", "--lines"],
        ["antsibull-changelog", "lint"],
        ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--check-extra-docs-refs", "--validate-collection-refs", "self", "."],
        ["ansible-lint", "--offline", "--strict"],
    ):
        try:
            session.run(*command, external=command[0] == "shellcheck")
        except nox.command.CommandFailed:
            failed.append(" ".join(word for word in command[:2] if not word.startswith("-")))
    if failed:
        session.error(f"refused by {', '.join(failed)}")


# What the docsite refers to and does not have: labels of Ansible's own documentation and pages of other collections. Sphinx would look
# them up in an index that it fetches, and the checks do not count on the internet. Any other reference that leads nowhere is an error.
ELSEWHERE = r"""
intersphinx_mapping = {}
nitpick_ignore_regex = [("std:ref", r"action_plugins|common_return_values|ansible_configuration_settings|ansible_collections\.(?!vmimage\.prep\.).*")]
"""


@nox.session
def docs(session):
    """The docsite, without a warning; .cache/docs/build/html/index.html is its first page."""
    session.install("-r", REQUIREMENTS / "docs.txt")
    site = CACHE / "docs"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(mode=0o755)  # not for others to write to, or antsibull-docs refuses it
    options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "vmimage.prep"]
    session.run("antsibull-docs", "sphinx-init", "--dest-dir", str(site), *options)
    with (site / "conf.py").open("a", encoding="utf-8") as settings:
        settings.write(ELSEWHERE)
    (site / "rst").chmod(0o755)
    session.run(
        "antsibull-docs", "--config-file", str(site / "antsibull-docs.cfg"), "collection", "--cleanup", "everything", "--dest-dir", str(site / "rst"), *options
    )
    session.run(
        "sphinx-build", "-M", "html", str(site / "rst"), str(site / "build"), "-c", str(site), "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"
    )


@nox.session
def examples(session):
    """All examples of the documentation, as they stand there, twice."""
    oracles(session)
    session.install("-r", REQUIREMENTS / "examples.txt")
    session.run("pytest", "-n", "2", *(session.posargs or ["tests/examples"]), env={"PATH": f"{ORACLES}:{os.environ['PATH']}"})


@nox.session
@each_core
def units(session, core):
    """All unit tests, with the oracles. The engine does not know Ansible, so one ansible-core is enough for its tests."""
    oracles(session)
    session.install(f"ansible-core=={core}", "-r", REQUIREMENTS / "units.txt")
    session.install("--no-deps", "-r", REQUIREMENTS / "vocabulary.txt")
    arguments = [] if core == next(iter(CORES)) else [f"--ignore={ENGINE_TESTS}"]
    session.run("pytest", "-n", "2", "-m", "not guests and not glance", *(session.posargs or arguments))


@nox.session
def guests(session):
    """What is inside real guests, and booting what is taken out of them."""
    if os.geteuid() != 0:
        session.skip("needs root: the guests are installed in a chroot, and their disks are loop devices")
    oracles(session)
    # The kernel is for virt-inspector's appliance: a container has none.
    session.run("tests/tools/need", "mmdebstrap=mmdebstrap", "virt-inspector=libguestfs-tools linux-image-cloud-amd64", external=True)
    if not Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists():
        session.run("tests/tools/need", "OVMF_CODE_4M.fd=ovmf", external=True)
    session.install(f"ansible-core=={next(iter(CORES))}", "-r", REQUIREMENTS / "units.txt")
    session.run("tests/tools/build_guests", str(CACHE / "guests"), external=True)
    session.run("pytest", "-n", "2", "-m", "guests", *session.posargs)


@nox.session
def glance(session):
    """What a real Glance says of our images, and of others."""
    oracles(session)
    session.install(f"ansible-core=={next(iter(CORES))}", "-r", REQUIREMENTS / "units.txt", "-r", REQUIREMENTS / "publish.txt")
    session.run("tests/tools/glance", "install", external=True)
    session.run("pytest", "-m", "glance", *session.posargs)  # in one process, as each would have a Glance of its own


@nox.session(python=TARGETS)
def targets(session):
    """The engine's units on every Python that a target may have; the oracles have had their say in units."""
    session.install("-r", REQUIREMENTS / "targets.txt")
    session.run("pytest", "-n", "2", "-m", "not oracle and not guests and not glance", *(session.posargs or [ENGINE_TESTS]))


@nox.session
@each_core
def sanity(session, core):
    """ansible-test sanity on every Python of this machine."""
    ansible_test(session, core, "sanity", "--local", *session.posargs)


@nox.session
@each_core
def integration(session, core):
    """The modules as playbooks call them: all cases by the newest core on the oldest Python of this machine, some by the oldest core on the newest."""
    oracles(session)
    everything = core == list(CORES)[-1]
    ansible_test(
        session,
        core,
        "integration",
        "--controller",
        f"origin:python={CORES[core]}",
        "--target",
        f"controller:python={HERE[0] if everything else HERE[-1]}",
        *session.posargs,
        variables={"test_all": everything},
    )


@nox.session
def molecule(session):
    """The roles on two hosts: an old Python here, and a Debian of another release in a chroot."""
    if os.geteuid() != 0:
        session.skip("needs root: one of its hosts is a chroot")
    oracles(session)
    session.install("-r", REQUIREMENTS / "molecule.txt")
    session.run("molecule", "test", "--all", *session.posargs, env={"NO_COLOR": "1", "PATH": f"{ORACLES}:{os.environ['PATH']}"})


@nox.session
def awx(session):
    """What AWX is told, and the jobs that it runs: the modules of awx.awx, ansible-builder and ansible-runner."""
    session.install("-r", REQUIREMENTS / "awx.txt")
    session.run("tests/tools/glance", "install", external=True)
    # Its second host is the Debian that the part molecule made, where there is one.
    session.run("pytest", *(session.posargs or ["tests/awx"]))


@nox.session
def package(session):
    """What Galaxy would get, and what it would say."""
    session.install("-r", REQUIREMENTS / "package.txt")
    out = Path(session.create_tmp())
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(out), str(checkout("package")))
    (artifact,) = out.glob("*.tar.gz")
    with tarfile.open(artifact) as archive:
        strays = [name for name in archive.getnames() if name.startswith(("tests", "."))]
    if strays:
        session.error(f"not meant for the package, see build_ignore in galaxy.yml: {strays[:5]}")
    size = artifact.stat().st_size
    session.log(f"{artifact.name}: {size} bytes")
    if size > ARTIFACT_LIMIT:
        session.error(f"the package has {size} bytes, more than {ARTIFACT_LIMIT}")
    with session.chdir(out):  # the importer leaves its report where it runs
        session.run("python", "-m", "galaxy_importer.main", artifact.name, env={"GALAXY_IMPORTER_CONFIG": str(ROOT / "tests/tools/galaxy-importer.cfg")})


def oracles(session):
    """The tools that judge our results; without them their tests are skipped, and in CI fail."""
    session.run("tests/tools/oracles", external=True, success_codes=[0] if CI else range(256))


def ansible_test(session, core, *arguments, variables=None):
    """Run ansible-test in a copy of the checkout, which it needs to lie below a folder named ansible_collections.

    The variables are for the playbooks of the integration tests.
    """
    session.install(f"ansible-core=={core}")
    downloads = Path.home() / ".ansible/test/cache"
    downloads.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):  # as the two cores name it
        if not (downloads / f"get_pip_{version}.py").exists():
            shutil.copy(ROOT / "tests/tools/get_pip.py", downloads / f"get_pip_{version}.py")
    with session.chdir(checkout(core)):
        if variables is not None:
            Path("tests/integration/integration_config.yml").write_text(json.dumps(variables), encoding="utf-8")
        session.run("ansible-test", *arguments, "--color", "no", env={"PATH": f"{ORACLES}:{os.environ['PATH']}"})


def checkout(name):
    """Copy the files that git knows or would know to .cache/tree-NAME, and return the collection's folder there."""
    tree = CACHE / f"tree-{name}"
    place, output = tree / "ansible_collections" / COLLECTION, tree / "output"
    if (place / "tests/output").is_dir():  # ansible-test keeps environments there: carry them over
        shutil.rmtree(output, ignore_errors=True)
        shutil.move(place / "tests/output", output)
    shutil.rmtree(place, ignore_errors=True)
    listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    for path in filter(None, listing.stdout.decode().split("\0")):
        if (ROOT / path).exists():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, place / path, follow_symlinks=False)
    if output.is_dir():
        shutil.move(output, place / "tests/output")
    # A repository of its own: in ours, .gitignore has .cache, and ansible-test would find nothing and be content.
    subprocess.run(["git", "init", "-q", "."], cwd=place, check=True)
    return place
