"""The port on which a worker group meets is one that the system gives to no connection."""

from pathlib import Path

from frpo_verl.verl_plugin.cpu.shims import master_port


def chosen(*given):
    asked = []
    master_port._below_the_systems(lambda group, pg, index, ports: asked.append(ports), None, None, 0, *given)
    return asked[0]


def test_every_port_is_below_those_of_the_system_and_groups_begin_apart():
    ports = [chosen() for _ in range(200)]
    first_of_the_systems = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(20_000 <= first < last <= first_of_the_systems for first, last in ports)
    assert len({first for first, _ in ports}) > 150


def test_a_range_that_was_given_stays():
    assert chosen([50_000, 50_010]) == [50_000, 50_010]
