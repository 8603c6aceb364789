# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The page about an image: one HTML file that needs nothing else, to look at, print, or attach to a job."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..openstack.upload_facts import REFUSE, SERVICES, WARN
from . import markup, style
from .disk import allocation_section, partition_section
from .inside import guest_section, media_section, risks_of
from .markup import Markup, badge, element, facts, join, listing, table
from .subject import Subject
from .upload import property_section, upload_section
from .words import form, full, size

_MAX_LINES = 50
_FEW = 10
_BUT = "accepted, "
"""How the reason of a warning may begin"""
_OUTCOMES = {"accept": ("good", "accepts"), WARN: ("warn", "warns"), REFUSE: ("bad", "refuses")}
_LEVELS = {"error": "bad", "warning": "warn", "note": "note"}


@dataclasses.dataclass
class Report:
    """What a page is about."""

    name: str
    came_in: Subject
    came_out: list[Subject] = dataclasses.field(default_factory=list)
    """what was made of it, in the order of the uploads; empty: the page is about ``came_in`` alone"""
    checks: list[str] = dataclasses.field(default_factory=list)
    """what was verified when it was made"""
    notes: list[str] = dataclasses.field(default_factory=list)
    """what no property says"""
    proposals: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    """image properties with ``value``, ``source`` and ``confidence``"""

    @property
    def uploads(self) -> list[Subject]:
        """What would be uploaded."""
        return self.came_out or [self.came_in]

    @property
    def main(self) -> Subject:
        """The image itself, which is the last of the uploads."""
        return self.uploads[-1]

    @property
    def accepted(self) -> bool:
        """Whether Glance takes all of it."""
        return all(subject.verdict is not None and subject.verdict.accepted for subject in self.uploads)


def page(report: Report) -> str:
    """The HTML page. The same facts give the same page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{report.name}: image report"),
        markup.style(style.CSS),
    )
    main = report.main
    sections = [
        _head(report),
        _warnings(report),
        _came(report),
        _gates(report),
        partition_section(main),
        allocation_section(report.came_in, report.came_out),
        guest_section(main.inside.get("guest")),
        media_section(main.inside.get("media")),
        property_section(report.came_out, report.proposals),
        upload_section(report.came_out),
        _details(report),
    ]
    footer = element("footer", "Written by the module vmimage.prep.image_report. Whoever made the image chose the names and texts in it.")
    return markup.document("en", head, element("body", element("main", *sections, footer)))


def _head(report: Report) -> Markup:
    main = report.main
    image = main.image or {}
    guest = main.inside.get("guest") or {}
    media = main.inside.get("media") or {}
    os_name = (guest.get("os") or {}).get("name") or media.get("name")
    architecture = (guest.get("architecture") or {}).get("value") or media.get("architecture")
    firmware = {"bios": "BIOS", "uefi": "UEFI", "both": "BIOS and UEFI"}.get((guest.get("firmware") or {}).get("value") or "")
    several = f"{len(report.came_out)} files" if len(report.came_out) > 1 else None
    tiles = facts(
        [
            ("Format", several or (form(image) if image else None)),
            ("Disk", size(image.get("virtual_size"))),
            ("File", size(sum(subject.file_size or 0 for subject in report.uploads) or None)),
            ("Inside", os_name),
            ("Architecture", architecture),
            ("Boots with", firmware),
        ]
    )
    return element(
        "header", element("h1", report.name), element("p", report.came_in.path, class_="lead"), _banner(report), element("div", tiles, class_="tiles")
    )


def _banner(report: Report) -> Markup:
    """The verdict in a sentence or two."""
    color, sign, sentence = _summary(report)
    return element("div", element("span", sign, class_="sign", aria_hidden="true"), element("p", sentence), class_=f"verdict {color}")


def _summary(report: Report) -> tuple[str, str, str]:
    """Colour, sign and words.

    Glance decides on all uploads. On the image the services of the cloud decide, where these are known, else Nova; the others are only named
    then, as not every cloud has them.
    """
    glance = [gate for subject in report.uploads if subject.verdict for gate in subject.verdict.gates if gate.service == "glance"]
    verdict = report.main.verdict
    others = [gate for gate in verdict.gates if gate.service != "glance"] if verdict else []
    deciding = [gate for gate in others if gate.service == "nova" or (verdict and verdict.profile)]
    refusals = [("Glance refuses this image", gate) for gate in glance if gate.outcome == REFUSE]
    refusals += [(f"Glance accepts this image, but {SERVICES[gate.service]} refuses it", gate) for gate in deciding if gate.outcome == REFUSE]
    for words, gate in refusals:
        return "bad", "✕", _sentence(words, gate.text, gate.cure)
    for level, line in _told(report):
        if level == "error":
            return "bad", "✕", _sentence("Glance accepts this image, but something is wrong with it", line)
    warnings = [("Glance accepts this image", gate) for gate in glance if gate.outcome == WARN]
    warnings += [(f"Glance and {SERVICES[gate.service]} accept this image", gate) for gate in deciding if gate.outcome == WARN]
    for words, gate in warnings:
        return "warn", "!", _sentence(words, gate.text, gate.cure)
    objecting = [SERVICES[gate.service] for gate in others if gate.outcome != "accept"]
    if not objecting:
        return "good", "✓", "OpenStack takes this image: no service has an objection."
    names = " and ".join(filter(None, (", ".join(objecting[:-1]), objecting[-1])))
    return "good", "✓", f"Glance and Nova accept this image. Objections of {names} stand below."


def _sentence(words: str, reason: str, cure: str | None = None) -> str:
    return " ".join(f"{part.rstrip('.')}." for part in (_joined(words, reason), cure) if part)


def _joined(words: str, reason: str) -> str:
    """An answer with its reason, which may begin with the answer itself."""
    return f"{words}, {reason[len(_BUT) :]}" if reason.startswith(_BUT) else f"{words}: {reason}"


def _gates(report: Report) -> Markup:
    """What each service says, of each upload."""
    tables = []
    for subject in (report.main, *report.uploads[:-1]):
        verdict = subject.verdict
        if verdict is None:
            continue
        cures = any(gate.cure for gate in verdict.gates)
        rows = []
        for gate in verdict.gates:
            color, word = _OUTCOMES[gate.outcome]
            rows.append((SERVICES[gate.service], badge(color, word), gate.text, *([gate.cure or "—"] if cures else [])))
        caption = f"{os.path.basename(subject.path)} uploaded as {verdict.disk_format} in {verdict.container_format}, OpenStack {verdict.release}"
        shown = table(caption, ("Service", "Says", "Because", *(["Cure"] if cures else [])), rows)
        if subject is not report.main:  # a kernel or a ramdisk, of which most services make nothing
            answer = "Glance accepts it" if verdict.accepted else "Glance refuses it"
            shown = element("details", element("summary", f"{os.path.basename(subject.path)}: {answer}"), shown)
        tables.append(shown)
    note = element("p", "Known beforehand from what the services check with their default configuration. Their own answers are final.", class_="small")
    return element("section", element("h2", "What OpenStack will say"), tables, note)


def _warnings(report: Report) -> Markup | None:
    """What somebody should know before the upload. Nothing when there is nothing."""
    found = _told(report)
    if not found:
        return None
    lines = [element("li", badge(_LEVELS[level], level), element("span", line)) for level, line in found[:_MAX_LINES]]
    more = element("p", f"… and {len(found) - _MAX_LINES} more", class_="small") if len(found) > _MAX_LINES else None
    return element("section", element("h2", "Worth knowing"), element("ul", lines, class_="plain"), more)


def _told(report: Report) -> list[tuple[str, str]]:
    """Level and text of all that is said about the files and the guest, each once, the worst first."""
    found = risks_of(report.main.inside) + [("note", note) for note in report.notes]
    for subject in (report.came_in, *report.came_out):
        image = subject.image or {}
        found += [("error", problem) for problem in subject.problems]
        found += [("warning", warning) for warning in (*image.get("warnings", ()), *(image.get("partition_table") or {}).get("warnings", ()))]
        found += [("note", note) for note in subject.notes]
    return sorted(dict.fromkeys(found), key=lambda entry: list(_LEVELS).index(entry[0]))


def _came(report: Report) -> Markup:
    """What came in beside what came out."""
    checks = [element("h3", "Verified"), listing(report.checks, _MAX_LINES)] if report.checks else []
    if not report.came_out:
        return element("section", element("h2", "The file"), element("div", _file(report.came_in), class_="rows"), checks)
    cards = [_card("What came in", report.came_in)]
    for subject in report.came_out:
        kind = {"aki": "kernel", "ari": "ramdisk"}.get(subject.upload.get("disk_format", ""))
        cards.append(_card(f"What came out: {kind}" if kind else "What came out", subject))
    return element("section", element("h2", "From file to upload"), element("div", cards, class_="pair"), checks)


def _card(title: str, subject: Subject) -> Markup:
    return element("div", element("h3", title), _file(subject), class_="side")


def _file(subject: Subject) -> Markup:
    """What a file is."""
    image, tarball = subject.image or {}, subject.tarball
    layers = [f"{layer['format']} ({layer['member']})" if layer.get("member") else layer["format"] for layer in image.get("layers", ())]
    kind = form(image) if image else None
    if tarball is not None:
        layers = list(tarball["layers"])
        kind = {"tarball": "UEC tarball", "folder": "files of a UEC tarball", "bundle": "EC2 bundle"}[tarball["kind"]]
    verdict = subject.verdict
    answer = None
    if verdict is not None and not subject.upload:
        objection = verdict.objection
        color, word = {None: ("good", "accepted"), WARN: ("warn", "accepted"), REFUSE: ("bad", "refused")}[objection.outcome if objection else None]
        answer = join(badge(color, word), _joined(f" by {SERVICES[objection.service]} as it is", objection.text) if objection else " by Glance as it is")
    package = subject.package or {}
    checksums = subject.upload.get("checksums") or {}
    rows: list[tuple[str, markup.Content]] = [
        ("Path", subject.path),
        ("Wrapped in", " → ".join(layers)),
        ("Package of", package.get("writer")),
        ("Format", kind),
        ("Disk", full(image.get("virtual_size"))),
        ("File", full(subject.file_size)),
        ("On disk", size(image.get("actual_size")) if not layers else None),
        ("Written by", image.get("writer")),
        ("Upload", answer),
        *((name, element("span", digest, class_="hash")) for name, digest in sorted(checksums.items())),
    ]
    contents = []
    if tarball is not None:
        files = [(file["name"], file["role"], file["description"], size(file["length"])) for file in tarball["files"][:_MAX_LINES]]
        contents = [element("h3", "Files in it"), table("Files in the tarball", ("Name", "Role", "What it is", "Size"), files, numbers=(3,))]
    return join(facts(rows), contents)


def _details(report: Report) -> Markup | None:
    """What few ask for, folded up."""
    folded = []
    entries = [("What came in" if report.came_out else "The file", report.came_in), *(("What came out", subject) for subject in report.came_out)]
    for title, entry in entries:
        image = entry.image
        if image is None:
            continue
        rows: list[tuple[str, markup.Content]] = [
            ("Answers to", ", ".join(match["description"] for match in image["matches"])),
            ("Unit of allocation", size(image["cluster_size"])),
            ("Names other files", listing([f"{reference['role']}: {reference['name']}" for reference in image["references"]], _FEW)),
            ("Snapshots", listing([str(snapshot.get("name")) for snapshot in image["snapshots"]], _FEW)),
            *((name, _value(value)) for name, value in sorted(image["format_specific"].items())),
        ]
        folded.append(element("details", element("summary", f"{title}: {form(image)}"), element("div", facts(rows), class_="rows")))
    return element("section", element("h2", "Details of the format"), folded) if folded else None


def _value(value: t.Any) -> str | None:
    """A value of the format's own facts, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(entry)}" for key, entry in list(value.items())[:20])
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_value(entry)) for entry in value[:20])
    return None if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
