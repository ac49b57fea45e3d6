"""The time of each step with queues: every packet is scheduled, and waits where its route is full.

The semi-analytical schedule of SANA-FE (J. Boyle et al., IEEE TCAD 2025, its `detailed` timing model), written from
its description: cores send their packets in the order of their neurons; a packet waits while more packets are on its
route than the buffers of the links hold; a receiver takes one after the other. `tests/hw_sim/sanafe` holds it to
SANA-FE's own run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.mapping.mapping import Mapping
from neurokit.hw_sim.mapping.partition import stays_inside
from neurokit.hw_sim.pricing.earliest import Earliest
from neurokit.hw_sim.pricing.mapped_counts import category
from neurokit.hw_sim.pricing.tally import Tally
from neurokit.hw_sim.pricing.timing import barrier_seconds, time_of

Floats = NDArray[np.float64]

# Packets that one link holds, in SANA-FE's Loihi.
LINK_BUFFER = 16


@dataclass(frozen=True)
class Route:
    """The way of packets from one core to another.

    Attributes:
        links: Links on the way: the sender's own, then those of the mesh, `hops + 1` of them.
        hops: Mesh links.
        seconds: Least time on the way.
    """

    links: tuple[tuple[int, int, str | int], ...]
    hops: int
    seconds: float


@dataclass(frozen=True)
class Packet:
    """One packet, or the work of a core after its last one.

    Attributes:
        core: Sender.
        work: Time from the packet before it to this one.
        target: Receiver, or -1 for work without a packet.
        receive: Time that the receiver takes for it.
    """

    core: int
    work: float
    target: int = -1
    receive: float = 0.0


def can_queue(profile: HardwareProfile) -> bool:
    """Whether queues can be told of a chip: it has a mesh, and times of what its cores do."""
    return profile.topology.kind == "mesh" and bool(set(profile.times) - {"tick", "host_step"})


def queued_step_times(
    mapping: Mapping, tally: Tally, profile: HardwareProfile, order: Sequence[int] | None = None
) -> Floats:
    """Returns the time of each step with queues, `[T]`.

    Args:
        mapping: Where everything lies; its input populations send from their core.
        tally: The workload.
        profile: Times of a chip with a mesh.
        order: Cores in the order in which a neuron sends its packets to them; ascending by default. (SANA-FE sends in
            the order in which the cores happen to lie in its memory.)

    Raises:
        InputError: If the chip has no mesh or no times, or the network multiplies activations.
    """
    if mapping.network.products:
        name = mapping.network.products[0].name
        raise InputError(
            f"queues of {name!r}, an attention product", expected="projections only", fix="leave queueing out"
        )
    if not can_queue(profile):
        raise InputError(f"{profile.title} has no mesh or no times", expected="a chip like loihi1-sanafe")
    packets = _Packets(mapping, tally, profile, {core: rank for rank, core in enumerate(order or ())})
    schedule = _Schedule(mapping, profile)
    barrier = barrier_seconds(profile, mapping.tiles_in_use())
    return np.array([schedule.step(list(packets.of_step(t))) + barrier for t in range(tally.time_steps)])


class _Packets:
    """Lists what each core sends in a step, in the order of its neurons.

    Args:
        mapping: Where everything lies.
        tally: The workload.
        profile: Times.
        rank: Place of a core in the order of sending; of cores without one, after the others and ascending.
    """

    def __init__(self, mapping: Mapping, tally: Tally, profile: HardwareProfile, rank: dict[int, int]) -> None:
        self._mapping, self._profile, self._rank = mapping, profile, rank
        self._spikes = {name: raster.unpack() for name, raster in tally.workload.rasters.items()}
        self._active = {name: sums.values() for name, sums in tally.active.items()}
        self._into = self._receive_times()

    def of_step(self, t: int) -> Iterator[Packet]:
        """Yields the packets of one step, each core's in its order."""
        packet_out = time_of(self._profile, "packet_out", "value")
        waiting: dict[int, float] = {}
        for piece in self._mapping.pieces:
            for name in piece.populations:
                neurons = np.flatnonzero(piece.block.mask())
                work = self._work(name, t, neurons)
                fired = self._spikes[name][t, neurons] != 0 if name in self._spikes else np.zeros(len(neurons), bool)
                held = waiting.get(piece.core, 0.0)
                last = 0
                for place in np.flatnonzero(fired).tolist():
                    held += float(work[last : place + 1].sum())
                    last = place + 1
                    for target, receive in self._into[name].get(int(neurons[place]), ()):
                        yield Packet(piece.core, held + packet_out, target, receive)
                        held = 0.0
                waiting[piece.core] = held + float(work[last:].sum())
        yield from (Packet(core, rest) for core, rest in waiting.items() if rest)

    def _work(self, name: str, t: int, neurons: NDArray[np.int64]) -> Floats:
        """Returns the time that each neuron takes in a step, packets left out."""
        if name not in self._active:
            return np.zeros(len(neurons))
        access, update, idle, spike = (
            time_of(self._profile, term, "value") for term in ("neuron_access", "neuron_update", "neuron_idle", "spike")
        )
        active = self._active[name][t, neurons] != 0
        return access + np.where(active, update, idle) + spike * (self._spikes[name][t, neurons] != 0)

    def _receive_times(self) -> dict[str, dict[int, list[tuple[int, float]]]]:
        """Returns the receivers of each neuron with the time that each takes for one packet, by population."""
        fixed = time_of(self._profile, "packet_in", "value") + time_of(self._profile, "local_delivery", "value")
        network = self._mapping.network
        found: dict[str, dict[int, list[tuple[int, float]]]] = {}
        for population in network.populations:
            work: dict[int, Floats] = {}
            reached: dict[int, NDArray[np.bool_]] = {}
            for projection in network.out_of(population.name):
                each = time_of(self._profile, category(projection), "value")
                for number in self._mapping.held.get(projection.target, []):
                    piece = self._mapping.pieces[number]
                    if stays_inside(projection, piece.populations):
                        continue
                    synapses = projection.synapses_onto(piece.block.mask())
                    work.setdefault(piece.core, np.zeros(population.size))
                    work[piece.core] += each * synapses
                    reached.setdefault(piece.core, np.zeros(population.size, np.bool_))
                    reached[piece.core] |= synapses > 0
            rows: dict[int, list[tuple[int, float]]] = {}
            for core in sorted(work, key=lambda core: (self._rank.get(core, len(self._rank)), core)):
                for neuron in np.flatnonzero(reached[core]).tolist():
                    rows.setdefault(neuron, []).append((core, fixed + float(work[core][neuron])))
            found[population.name] = rows
        return found


class _Schedule:
    """Sends the packets of a step through the mesh.

    Args:
        mapping: Where the cores lie.
        profile: Times of the links.
    """

    def __init__(self, mapping: Mapping, profile: HardwareProfile) -> None:
        self._mapping = mapping
        self._hop = {way: time_of(profile, f"hop_{way}", "value") for way in ("x", "y")}
        self._routes: dict[tuple[int, int], Route] = {}

    def step(self, packets: list[Packet]) -> float:
        """Returns when the last packet of a step is processed."""
        queues: dict[int, list[Packet]] = {}
        for packet in packets:
            queues.setdefault(packet.core, []).append(packet)
        network, end = _Network(), 0.0
        ready = Earliest()
        for core in sorted(queues):
            ready.push(queues[core][0].work, core, 0)
        while ready:
            sent, core, number = ready.pop()
            packet = queues[core][number]
            end = max(end, sent)
            network.leave_until(sent)
            if packet.target >= 0:
                sent, processed = network.send(packet, sent, self._route(core, packet.target))
                end = max(end, processed)
            if number + 1 < len(queues[core]):
                ready.push(sent + queues[core][number + 1].work, core, number + 1)
        return end

    def _route(self, source: int, target: int) -> Route:
        if (source, target) not in self._routes:
            tiles = self._mapping.tile_of(np.array([source, target], np.int64))
            (x, y), (goal_x, goal_y) = self._mapping.positions[tiles].tolist()
            own: str | int = "port" if source < 0 else source % self._mapping.profile.topology.cores_per_tile
            links: list[tuple[int, int, str | int]] = []
            entered = own  # a link is named by the tile it ends at and by the way that a packet came
            seconds = abs(goal_x - x) * self._hop["x"] + abs(goal_y - y) * self._hop["y"]
            hops = abs(goal_x - x) + abs(goal_y - y)
            while x != goal_x:
                links.append((x, y, entered))
                entered = "east" if x < goal_x else "west"
                x += 1 if x < goal_x else -1
            while y != goal_y:
                links.append((x, y, entered))
                entered = "north" if y < goal_y else "south"
                y += 1 if y < goal_y else -1
            links.append((x, y, entered))
            self._routes[source, target] = Route(tuple(links), hops, seconds)
        return self._routes[source, target]


class _Network:
    """Packets on their way: how many are on each link, and how long receivers take for one on average."""

    def __init__(self) -> None:
        self._density: dict[tuple[int, int, str | int], float] = {}
        self._free: dict[int, float] = {}  # when each receiver has taken what it was sent
        self._flying: list[tuple[float, int, Packet, Route]] = []
        self._mean = 0.0
        self._sent = 0

    def leave_until(self, time: float) -> None:
        """Takes packets off the links that were received by a time."""
        while self._flying and self._flying[0][0] <= time:
            _, _, packet, route = heapq.heappop(self._flying)
            self._book(route, -1.0)
            many = len(self._flying) + 1
            self._mean = self._mean + (self._mean - packet.receive) / (many - 1.0) if many > 1 else 0.0

    def send(self, packet: Packet, sent: float, route: Route) -> tuple[float, float]:
        """Returns when a packet leaves its core and when it has been processed."""
        along = sum(self._density.get(link, 0.0) for link in route.links)
        room = (route.hops + 1) * LINK_BUFFER
        if along > room:
            sent += (along - room) * self._mean
        way = max(route.seconds, along * self._mean / (route.hops + 1.0))
        free = self._free.get(packet.target, 0.0)
        received = max(free, sent + way)
        processed = max(free + packet.receive, sent + way + packet.receive)
        self._free[packet.target] = processed
        self._book(route, 1.0)
        self._mean += (packet.receive - self._mean) / (len(self._flying) + 1.0)
        self._sent += 1
        heapq.heappush(self._flying, (received, self._sent, packet, route))
        return sent, processed

    def _book(self, route: Route, sign: float) -> None:
        """Spreads a packet evenly over its links, its core's and its receiver's among them."""
        share = sign / (route.hops + 2.0)
        for link in route.links:
            self._density[link] = self._density.get(link, 0.0) + share
