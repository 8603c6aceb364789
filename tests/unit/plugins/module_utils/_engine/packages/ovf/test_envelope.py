# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors in every dialect, in the shapes that their writers give them."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, CorruptImage, InvalidImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf import envelope as envelope_module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.envelope import parse_envelope
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.guest import identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.model import choose_system

XMLNS = (
    'xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="urn:rasd" xmlns:vssd="urn:vssd" '
    'xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
DISK = '<Disk ovf:diskId="d{0}" ovf:fileRef="f{0}" ovf:capacity="{0}"/>'


def item(kind, identity=1, body="", attributes=""):
    return f"<Item {attributes}><rasd:InstanceID>{identity}</rasd:InstanceID><rasd:ResourceType>{kind}</rasd:ResourceType>{body}</Item>"


def rasd(**elements):
    return "".join(f"<rasd:{name}>{text}</rasd:{name}>" for name, text in elements.items())


def disk(number, identity, parent=None, address=None):
    return item(17, identity, rasd(HostResource=f"ovf:/disk/d{number}") + (rasd(Parent=parent, AddressOnParent=address) if parent is not None else rasd()))


def system(*items, sections="", identity="vm"):
    return f'<VirtualSystem ovf:id="{identity}">{sections}<VirtualHardwareSection>{"".join(items)}</VirtualHardwareSection></VirtualSystem>'


def read(*parts, xmlns=XMLNS, configuration=None):
    return parse_envelope(f"<Envelope {xmlns}>{''.join(parts)}</Envelope>".encode(), "x.ova!vm.ovf", configuration)


def hardware(*items, **kwargs):
    return read(system(*items), **kwargs).systems[0].hardware


def test_ovf_0_9():
    data = """<ovf:Envelope xmlns:x="http://www.w3.org/2001/XMLSchema-instance" xmlns:ovf="http://www.vmware.com/schema/ovf/1/envelope" xmlns:r="urn:r">
      <References><File ovf:id="file1" ovf:href="disk.vmdk" ovf:size="12"/></References>
      <Section x:type="ovf:DiskSection_Type"><Disk ovf:diskId="d1" ovf:fileRef="file1" ovf:capacity="1048576"/></Section>
      <Section x:type="ovf:NetworkSection_Type"><Network ovf:name="net"/></Section>
      <Content x:type="ovf:VirtualSystem_Type" ovf:id="vm"><Info/>
        <Section x:type="ovf:OperatingSystemSection_Type" ovf:id="93"/>
        <Section x:type="ovf:VirtualHardwareSection_Type">
          <Item><r:InstanceId>8</r:InstanceId><r:ResourceType>6</r:ResourceType><r:ResourceSubType>someother, lsilogic</r:ResourceSubType>
            <r:BusNumber>0</r:BusNumber></Item>
          <Item><r:InstanceId>9</r:InstanceId><r:ResourceType>17</r:ResourceType><r:HostResource> /disk/d1
          </r:HostResource><r:Parent>8</r:Parent><r:AddressOnParent>0</r:AddressOnParent></Item>
          <Item><r:InstanceId>2</r:InstanceId><r:ResourceType>4</r:ResourceType><r:AllocationUnits>MegaBytes</r:AllocationUnits>
            <r:VirtualQuantity>512</r:VirtualQuantity></Item>
        </Section></Content></ovf:Envelope>"""
    found = parse_envelope(data.encode(), "vm.ovf")
    (machine,) = found.systems
    (drive,) = machine.hardware.drives
    assert (found.version, found.writer, found.networks, machine.os.distro, machine.memory_mib) == ("0.9", "VMware", ["net"], "ubuntu", 512)
    assert (found.disks[0].capacity, found.file("file1").href, found.file("file1").size) == (1 << 20, "disk.vmdk", 12)
    assert (drive.kind, drive.reference, drive.controller.bus, drive.controller.model, drive.address) == ("disk", "d1", "scsi", "lsilogic", 0)


def test_ovf_2_of_virtualbox():
    data = f"""<Envelope {XMLNS.replace("envelope/1", "envelope/2")} xmlns:vbox="http://www.virtualbox.org/ovf/machine" xmlns:sasd="urn:s" xmlns:epasd="urn:e">
      <VirtualSystem ovf:id="ubuntu"><OperatingSystemSection ovf:id="94"><vbox:OSType>Ubuntu_64</vbox:OSType></OperatingSystemSection>
      <VirtualHardwareSection>{item(20, 5, rasd(ResourceSubType="AHCI", Address=0))}
        <StorageItem><sasd:InstanceID>8</sasd:InstanceID><sasd:ResourceType>17</sasd:ResourceType><sasd:Parent>5</sasd:Parent>
          <sasd:HostResource>/disk/vmdisk1</sasd:HostResource></StorageItem>
        <EthernetPortItem><epasd:InstanceID>9</epasd:InstanceID><epasd:ResourceType>10</epasd:ResourceType>
          <epasd:ResourceSubType>E1000</epasd:ResourceSubType><epasd:Connection>NAT</epasd:Connection></EthernetPortItem>
      </VirtualHardwareSection>
      <vbox:Machine><Hardware><Firmware type="EFI"/></Hardware></vbox:Machine></VirtualSystem></Envelope>"""
    found = parse_envelope(data.encode(), "vm.ovf")
    (machine,) = found.systems
    assert (found.version, found.writer, machine.firmware) == ("2.x", "VirtualBox", "uefi")
    assert (machine.os.distro, machine.os.architecture, machine.os.confidence, machine.os.source) == ("ubuntu", "x86_64", "high", "vbox:OSType")
    assert machine.hardware.drives[0].controller.bus == "sata"
    assert [(adapter.models, adapter.network) for adapter in machine.hardware.adapters] == [(["e1000"], "NAT")]


def test_ovirt():
    data = f"""<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:ovirt="http://www.ovirt.org/ovf"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:rasd="urn:rasd">
      <References><File ovf:href="guid" ovf:id="guid" ovf:size="99"/></References>
      <DiskSection><Disk ovf:diskId="image" ovf:capacity="11" ovf:capacityAllocationUnits="byte * 2^30" ovf:fileRef="guid" ovf:parentRef=""
         ovf:volume-format="COW" ovf:disk-interface="VirtIO_SCSI" ovf:boot="true"/></DiskSection>
      <VirtualSystem ovf:id="vm"><BiosType>4</BiosType><OperatingSystemSection ovf:id="80" ovirt:id="24">
        <Description>rhel_7x64</Description></OperatingSystemSection>
      <VirtualHardwareSection>{item(20, "monitor")}{item(17, "guid", rasd(HostResource="image/guid", Parent="0000"))}
        {item(3, 1, rasd(num_of_sockets=2, cpu_per_socket=4))}</VirtualHardwareSection></VirtualSystem></ovf:Envelope>"""
    found = parse_envelope(data.encode(), "vm.ovf")
    (machine,) = found.systems
    assert (found.version, found.writer, found.disks[0].capacity, found.disks[0].parent_ref, found.disks[0].boot) == ("0.9", "oVirt", 11 << 30, "", True)
    assert (machine.hardware.cpus, machine.firmware, machine.secure_boot) == (8, "uefi", True)
    assert (machine.os.distro, machine.os.architecture, machine.os.confidence) == ("rhel", "x86_64", "high")
    assert (machine.hardware.drives[0].kind, machine.hardware.drives[0].reference) == ("", "image/guid")


def test_disks_come_in_boot_order_not_in_document_order():
    ide, scsi1, scsi0 = item(5, "ide", rasd(Address=0)), item(6, "s1", rasd(Address=1)), item(6, "s0", rasd(Address=0))
    found = hardware(scsi1, scsi0, ide, disk(1, 11, "ide", 0), disk(2, 12, "s1", 0), disk(3, 13, "s0", 10), disk(4, 14, "s0", 2), disk(5, 15))
    assert [drive.reference for drive in found.drives] == ["d4", "d3", "d2", "d1", "d5"]
    order = '<vmw:BootOrderSection vmw:instanceId="13" vmw:type="disk"><Info/></vmw:BootOrderSection>'
    (machine,) = read(system(scsi0, disk(3, 13, "s0", 10), disk(4, 14, "s0", 2), sections=order)).systems
    assert [drive.reference for drive in machine.hardware.drives] == ["d3", "d4"]


def test_items_of_other_configurations_and_bounds_are_no_hardware():
    options = '<DeploymentOptionSection><Configuration ovf:id="small"/><Configuration ovf:id="big" ovf:default="true"/></DeploymentOptionSection>'

    def memory(size, attributes=""):
        return item(4, 2, rasd(VirtualQuantity=size, AllocationUnits="byte * 2^20"), attributes)

    items = (
        memory(1, 'ovf:bound="min"'),
        memory(256),
        memory(512, 'ovf:configuration="big huge"'),
        memory(9999, 'ovf:bound="max"'),
        item(3, 1, rasd(VirtualQuantity=1), 'ovf:configuration="small"'),
        item(3, 1, rasd(VirtualQuantity=4), 'ovf:configuration="big"'),
        item(10, "%iid%", "", 'ovf:configuration="big"'),
        item(10, "%iid%", "", 'ovf:configuration="big"'),
    )
    found = read(options, system(*items))
    assert (found.configuration, [item.id for item in found.configurations]) == ("big", ["small", "big"])
    assert (found.systems[0].memory_mib, found.systems[0].hardware.cpus, len(found.systems[0].hardware.adapters)) == (512, 4, 2)
    small = read(options, system(*items), configuration="small").systems[0]
    assert (small.memory_mib, small.hardware.cpus, small.hardware.adapters) == (256, 1, [])
    with pytest.raises(InvalidImage, match="no deployment configuration 'none'; it has: small, big"):
        read(options, configuration="none")


def test_capacities():
    disks = """<DiskSection><Disk ovf:diskId="a" ovf:capacity="${com.example.size.1}" ovf:capacityAllocationUnits="byte * 2^30"/>
      <Disk ovf:diskId="b" ovf:capacity="${size}"/><Disk ovf:diskId="c" ovf:capacity="-1"/><Disk ovf:diskId="d" ovf:capacity="9223372036854775808"/>
      <Disk ovf:diskId="e" ovf:capacity="${secret}"/><Disk ovf:diskId="f" ovf:capacity="7" ovf:capacityAllocationUnits="parsec"/></DiskSection>"""
    product = """<ProductSection ovf:class="com.example" ovf:instance="1"><Property ovf:key="size" ovf:value="5"/>
      <Property ovf:key="secret" ovf:value="123123" ovf:password="true"/></ProductSection>"""
    found = read(disks, system(sections=product))
    assert [disk.capacity for disk in found.disks] == [5 << 30, 5, None, None, None, None]
    told = [warning.location for warning in found.warnings if warning.code == "capacity_unknown"]
    assert told == [f"vm.ovf: Disk {name}" for name in "cdef"]
    assert "123123" not in str(found)


@pytest.mark.parametrize(
    "attributes",
    [
        'ovf:password="true"',
        'ovf:password="1"',
        'ovf:isPassword="true"',
        'vmw:qualifiers="Password"',
        'ovf:type="password"',
        'ovf:qualifiers="MinLen(8), password"',
    ],
)
def test_passwords_are_never_kept(attributes):
    found = read(
        f'<DeploymentOptionSection><Configuration ovf:id="c"/></DeploymentOptionSection><ProductSection><Property ovf:key="k" ovf:value="s3cret" {attributes}>'
        '<Value ovf:value="s3cret2" ovf:configuration="c"/></Property></ProductSection>'
    )
    assert found.properties[0].password
    assert "s3cret" not in repr(found)


def test_the_value_of_a_property_is_that_of_the_configuration():
    found = read(
        '<DeploymentOptionSection><Configuration ovf:id="small"/></DeploymentOptionSection>',
        system(sections='<ProductSection><Property ovf:key="k" ovf:value="1"><Value ovf:value="2" ovf:configuration="small"/></Property></ProductSection>'),
    )
    assert [(item.scope, item.key, item.value) for item in found.properties] == [("vm", "k", "2")]


def test_systems_of_nested_collections_are_found_and_chosen():
    def collection(name, *parts):
        return f'<VirtualSystemCollection ovf:id="{name}">{"".join(parts)}</VirtualSystemCollection>'

    inner = collection("inner", system(identity="web"), system(identity="db"))
    found = read(collection("outer", system(identity="lb", sections="<Name>Load balancer</Name>"), inner))
    assert [(machine.id, machine.collection) for machine in found.systems] == [("lb", ["outer"]), ("web", ["outer", "inner"]), ("db", ["outer", "inner"])]
    for wanted in ("lb", "Load balancer", "0"):
        assert choose_system(found.systems, wanted, "p").id == "lb"
    with pytest.raises(AmbiguousImage, match="3 systems: lb, web, db"):
        choose_system(found.systems, None, "p")
    for wanted in ("none", "3", "-1"):
        with pytest.raises(InvalidImage, match=f"no virtual system '{wanted}'; it has: lb, web, db"):
            choose_system(found.systems, wanted, "p")
    with pytest.raises(InvalidImage, match="no virtual system; it has: none"):
        choose_system([], None, "p")


def test_memory_without_a_unit_is_in_mib_and_a_tpm_is_seen():
    found = hardware(item(4, 2, rasd(VirtualQuantity=512)), item(1, 3, rasd(ResourceSubType="vmware.vtpm")))
    assert (found.memory, found.tpm, found.tpm_version) == (512 << 20, True, "2.0")
    assert hardware(item(34, 3, rasd(ResourceSubType="vmware.vtpm"))).tpm
    assert hardware(item(0, 3, "<Type>tpm</Type><Device>tpm</Device>")).tpm
    assert not hardware(item(1, 3, rasd(ResourceSubType="vmware.vmci"))).tpm


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (rasd(VirtualQuantity=8) + "<vmw:CoresPerSocket>4</vmw:CoresPerSocket>", (8, 2, 4, None)),
        (rasd(VirtualQuantity=8) + "<vmw:CoresPerSocket>3</vmw:CoresPerSocket>", (8, None, None, None)),
        (rasd(VirtualQuantity=8) + "<vmw:CoresPerSocket>0</vmw:CoresPerSocket>", (8, None, None, None)),
        (rasd(VirtualQuantity=8), (8, None, None, None)),
        (rasd(num_of_sockets=2, cpu_per_socket=4, threads_per_cpu=2), (16, 2, 4, 2)),
        (rasd(num_of_sockets=1, cpu_per_socket=1), (1, 1, 1, None)),
        (rasd(num_of_sockets=9999999, cpu_per_socket=1), (9999999, None, None, None)),
    ],
)
def test_processors(said, wanted):
    found = hardware(item(3, 1, said))
    assert (found.cpus, found.cpu_sockets, found.cpu_cores, found.cpu_threads) == wanted


def test_what_lies_in_a_cd_drive_is_no_disk():
    found = read(
        '<References><File ovf:id="f1" ovf:href="disk.vmdk"/><File ovf:id="f2" ovf:href="tools.iso"/><File ovf:id="f3" ovf:href="x.flp"/></References>',
        f"<DiskSection>{DISK.format(1)}{DISK.format(2)}</DiskSection>",
        system(
            item(5, "ide", rasd(Address=1)),
            disk(1, 8, "ide", 0),
            item(15, 9, rasd(HostResource="ovf:/file/f2", Parent="ide", AddressOnParent=1)),
            item(16, 10, rasd(HostResource="/disk/d2", Parent="ide", AddressOnParent=0)),
            item(14, 11, rasd(HostResource="ovf:/file/f3")),
            item(15, 12),
        ),
    )
    hardware = found.systems[0].hardware
    assert [drive.reference for drive in hardware.drives] == ["d1"]
    told = [(drive.device, drive.controller.bus if drive.controller else None, drive.address, found.medium(drive)) for drive in hardware.removable]
    assert told == [("cdrom", "ide", 1, "tools.iso"), ("cdrom", "ide", 0, "tools.iso"), ("floppy", None, None, "x.flp"), ("cdrom", None, None, None)]


def test_addresses_of_other_writers():
    def powervc(number, controller, unit):
        address = f"{{type=drive,bus=0,controller={controller},target=0,unit={unit}}}"
        return item(17, f"guid-{number}", rasd(HostResource=f"ovf:/disk/d{number}", Address=address))

    found = hardware(powervc(1, 1, 0), powervc(2, 0, 1), powervc(3, 0, 0))
    assert [(drive.reference, drive.address) for drive in found.drives] == [("d3", 0), ("d2", 1), ("d1", 0)]
    ide = hardware(item(17, "a", rasd(HostResource="ovf:/disk/d1", Address="{type=drive, controller=0, bus=1, target=0, unit=1}")))
    assert ide.drives[0].address == 3

    def xen(number, device):
        connections = f"<rasd:Connection>sr=guid</rasd:Connection><rasd:Connection>device={device}</rasd:Connection>"
        return item(19, f"xen-{number}", rasd(HostResource=f"ovf:/disk/d{number}") + connections)

    assert [(drive.reference, drive.address) for drive in hardware(xen(1, 3), xen(2, 0)).drives] == [("d2", 0), ("d1", 3)]
    for nonsense in ("{type=pci, slot=0x07}", "{type=drive", "{type=drive,unit=99999999}", "7"):
        assert hardware(item(17, 1, rasd(HostResource="ovf:/disk/d1", Address=nonsense))).drives[0].address is None


def test_hardware_addresses_of_adapters():
    found = hardware(item(10, 1, rasd(MACAddress="00:11:22:AA:BB:CC")), item(10, 2, rasd(Address="001122AABBCD")), item(10, 3, rasd(Address="7")))
    assert [adapter.mac for adapter in found.adapters] == ["00:11:22:aa:bb:cc", "00:11:22:aa:bb:cd", None]


@pytest.mark.parametrize("seven", [False, True])
def test_virtualbox_is_asked_for_what_the_items_lack(seven):
    """VirtualBox 7 has the controllers inside of Hardware."""
    storage = """<StorageControllers>
        <StorageController name="IDE" type="PIIX4"><AttachedDevice type="DVD" port="1" device="0"/>
          <AttachedDevice type="HardDisk" port="1" device="1"><Image uuid="{0000-AA01}"/></AttachedDevice></StorageController>
        <StorageController name="SATA" type="AHCI"><AttachedDevice type="HardDisk" port="2" device="0"><Image uuid="{0000-aa02}"/></AttachedDevice>
        </StorageController></StorageControllers>"""
    machine = f"""<vbox:Machine OSType="Debian12_64"><Hardware><Firmware type="EFI"/><Chipset type="ICH9"/>
        <TrustedPlatformModule type="v2_0"/><Network><Adapter slot="0" enabled="true" MACAddress="0800272AFB4E" type="82540EM"/>
        <Adapter slot="1" enabled="false" MACAddress="080027000000" type="virtio"/></Network>{storage if seven else ""}</Hardware>
        {"" if seven else storage}</vbox:Machine>"""
    disks = "".join(f'<Disk ovf:diskId="d{number}" ovf:fileRef="f" ovf:capacity="1" vbox:uuid="0000-aa0{number}"/>' for number in (1, 2, 3))
    parts = (f"<DiskSection>{disks}</DiskSection>", system(disk(2, 1), disk(1, 2), disk(3, 3), item(10, 4), sections=machine))
    (found,) = read(*parts, xmlns=XMLNS + ' xmlns:vbox="http://www.virtualbox.org/ovf/machine"').systems
    told = [(drive.reference, drive.controller and (drive.controller.bus, drive.controller.model), drive.address) for drive in found.hardware.drives]
    assert told == [("d1", ("ide", "piix4"), 3), ("d2", ("sata", "ahci"), 2), ("d3", None, None)]
    assert (found.firmware, found.chipset, found.hardware.tpm, found.hardware.tpm_version) == ("uefi", "q35", True, "2.0")
    assert [(adapter.models, adapter.mac) for adapter in found.hardware.adapters] == [(["e1000"], "08:00:27:2a:fb:4e")]
    assert (found.os.distro, found.os.version, found.os.source) == ("debian", "12", "vbox:OSType")


def test_the_items_count_before_virtualbox_settings():
    machine = """<vbox:Machine><Hardware><TrustedPlatformModule type="None"/></Hardware><StorageControllers><StorageController type="AHCI">
        <AttachedDevice type="HardDisk" port="5"><Image uuid="{a}"/></AttachedDevice></StorageController></StorageControllers></vbox:Machine>"""
    disks = '<DiskSection><Disk ovf:diskId="d1" ovf:capacity="1" vbox:uuid="a"/></DiskSection>'
    parts = (disks, system(item(5, "ide", rasd(Address=0)), disk(1, 2, "ide", 1), sections=machine))
    (found,) = read(*parts, xmlns=XMLNS + ' xmlns:vbox="http://www.virtualbox.org/ovf/machine"').systems
    assert (found.hardware.drives[0].controller.bus, found.hardware.drives[0].address, found.hardware.tpm) == ("ide", 1, False)


@pytest.mark.parametrize(
    ("bios_type", "wanted"),
    [
        (0, (None, None, None)),
        (1, ("bios", None, "i440fx")),
        (2, ("bios", None, "q35")),
        (3, ("uefi", None, "q35")),
        (4, ("uefi", True, "q35")),
        (5, (None, None, None)),
    ],
)
def test_platforms_of_ovirt(bios_type, wanted):
    (found,) = read(system(sections=f"<BiosType>{bios_type}</BiosType>")).systems
    assert (found.firmware, found.secure_boot, found.chipset) == wanted


def test_firmware_of_vmware():
    def config(**values):
        section = "".join(f'<vmw:Config vmw:key="{key.replace("_", ".")}" vmw:value="{value}"/>' for key, value in values.items())
        (machine,) = read(system(section)).systems
        return machine.firmware, machine.secure_boot

    assert config() == (None, None)
    assert config(firmware="bios", bootOptions_efiSecureBootEnabled="false") == ("bios", False)
    assert config(firmware="efi", bootOptions_efiSecureBootEnabled="true") == ("uefi", True)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (("103", "windows7Server64Guest", "", "text"), ("windows", "windows", "x86_64", "high")),
        (("1", "otherGuest", "", "Ubuntu Linux (64-bit)"), ("linux", "ubuntu", "x86_64", "low")),
        (("102", "otherGuest64", "", ""), (None, None, "x86_64", "high")),
        (("36", "ubuntuGuest", "", ""), ("linux", "ubuntu", None, "high")),
        (("101", "", "Debian12_arm64", ""), ("linux", "debian", "aarch64", "high")),
        (("107", "", "", ""), ("linux", "centos", "x86_64", "medium")),
        (("114", "", "", ""), (None, None, None, None)),
        (("", "darwin11_64Guest", "", ""), (None, None, "x86_64", "high")),
        (("42", "freebsd64Guest", "", ""), (None, "freebsd", "x86_64", "high")),
    ],
)
def test_operating_systems(said, wanted):
    found = identify(*said, ovirt=False)
    assert (found.type, found.distro, found.architecture, found.confidence) == wanted


@pytest.mark.parametrize(
    ("vmware", "virtualbox", "version"),
    [
        ("rhel7_64Guest", "", "7"),
        ("debian10_64Guest", "", "10"),
        ("ubuntu64Guest", "", None),
        ("centos64Guest", "", None),
        ("sles64Guest", "", None),
        ("other3xLinux64Guest", "", None),
        ("windows9_64Guest", "", "10"),
        ("windows9Server64Guest", "", None),
        ("windows7Server64Guest", "", None),
        ("windows2019srv_64Guest", "", "2019"),
        ("windows2019srvNext_64Guest", "", "2022"),
        ("", "Ubuntu22_LTS_64", "22.04"),
        ("", "Ubuntu_64", None),
        ("", "Debian12_arm64", "12"),
        ("", "Oracle9_64", "9"),
        ("", "Windows81_64", "8.1"),
        ("", "Windows2022_64", "2022"),
    ],
)
def test_versions_are_told_only_where_the_name_has_one(vmware, virtualbox, version):
    assert identify("1", vmware, virtualbox, "", ovirt=False).version == version


@pytest.mark.parametrize(
    ("number", "name", "wanted"),
    [
        ("24", "", ("linux", "rhel", "x86_64", "7", "high", "ovirt:id")),
        ("25", "windows_2012R2x64", ("windows", "windows", "x86_64", "2012R2", "high", "ovirt:id")),
        ("1256", "", ("linux", "ubuntu", None, None, "high", "ovirt:id")),
        ("2003", "", ("linux", "rhel", "s390x", None, "high", "ovirt:id")),
        ("1006", "", ("linux", "rhel", None, None, "high", "ovirt:id")),
        ("0", "rhel_9x64", ("linux", "rhel", "x86_64", "9", "medium", "Description")),
        ("9999", "", (None, None, None, None, None, None)),
    ],
)
def test_ovirt_numbers_systems_in_its_own_way(number, name, wanted):
    found = identify("120", "", "", name, ovirt=True, ovirt_id=number)
    assert (found.type, found.distro, found.architecture, found.version, found.confidence, found.source) == wanted


def test_double_ids_are_told_when_they_matter():
    found = read(
        f"<DiskSection>{DISK.format(1) * 2}</DiskSection>", '<References><File ovf:id="f1" ovf:href="a"/><File ovf:id="f1" ovf:href="b"/></References>'
    )
    with pytest.raises(CorruptImage, match="2 disks with the id 'd1'"):
        found.disk("d1")
    with pytest.raises(CorruptImage, match="2 files with the id 'f1'"):
        found.file("f1")
    assert (found.disk("none"), found.file("none"), found.file("a").href) == (None, None, "a")


def test_what_is_no_descriptor():
    for data in (b"<html/>", b"<FakeEnvelope/>"):
        with pytest.raises(InvalidImage, match="root element is '(html|FakeEnvelope)'"):
            parse_envelope(data, "x")
    unknown = parse_envelope(b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/3"/>', "x")
    assert (unknown.version, [warning.code for warning in unknown.warnings]) == ("unknown", ["unknown_namespace"])


@pytest.mark.parametrize(
    "part",
    [
        "<References>" + '<File ovf:id="f" ovf:href="x"/>' * 11 + "</References>",
        "<DiskSection>" + DISK.format(1) * 11 + "</DiskSection>",
        system() * 11,
        system(item(1) * 11),
        "<ProductSection>" + '<Property ovf:key="k"/>' * 11 + "</ProductSection>",
    ],
)
def test_counts_are_bounded(part, monkeypatch):
    monkeypatch.setattr(envelope_module, "MAX_ENTRIES", 10)
    with pytest.raises(LimitExceeded, match="more than 10"):
        read(part)
