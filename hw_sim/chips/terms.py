"""The things that a chip can have a price or a time for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neurokit.quantity import Kind

Basis = Literal["silicon", "simulation", "vendor", "derived", "assumed"]

Scope = Literal["marginal", "all-in"]

Component = Literal["synapse", "neuron", "routing", "memory", "static", "host"]

# What every chip has. A host is none of it: processors beside the cores that feed them and read them out, which a
# chip's file may price; a total without them says so.
COMPONENTS: tuple[Component, ...] = ("synapse", "neuron", "routing", "memory", "static")
ALL_COMPONENTS: tuple[Component, ...] = (*COMPONENTS, "host")

# Charged by time or by run, not by event.
TIMED_COMPONENTS: tuple[Component, ...] = ("static", "host")

# How far a constant can be trusted, as the kind of the quantity it becomes. A vendor's statement is not a
# measurement that anybody can repeat, so it counts as an assumption.
KIND_OF_BASIS: dict[str, Kind] = {
    "silicon": "measured",
    "simulation": "simulated",
    "derived": "analytic",
    "vendor": "assumed",
    "assumed": "assumed",
}


@dataclass(frozen=True)
class Term:
    """One thing that a chip can ask a price for.

    Attributes:
        component: The part of the total it belongs to.
        unit: Unit of its price: "J" an occurrence, or "W" while the chip is on.
        meaning: What is counted.
    """

    component: Component
    unit: str
    meaning: str


TERMS: dict[str, Term] = {
    "synaptic_event": Term("synapse", "J", "one spike reaching one neuron through one synapse"),
    "synaptic_event_dense": Term("synapse", "J", "the same, through a fully connected layer"),
    "synaptic_event_conv": Term("synapse", "J", "the same, through a convolution or pooling"),
    "synaptic_event_sparse": Term("synapse", "J", "the same, through explicitly listed connections"),
    "graded_event": Term("synapse", "J", "one value that is no spike reaching one neuron: a multiplication"),
    "shortcut_add": Term("synapse", "J", "one real value added one to one (a membrane shortcut)"),
    "product_operation": Term("synapse", "J", "one term of an activation times activation product"),
    "neuron_access": Term("neuron", "J", "one neuron looked at in one time step, active or not"),
    "neuron_update": Term("neuron", "J", "one neuron updated in one time step because it was active"),
    "neuron_idle": Term("neuron", "J", "one neuron of one time step that was not active"),
    "spike": Term("neuron", "J", "one spike emitted"),
    "packet": Term("routing", "J", "one spike sent to one core"),
    "local_delivery": Term("routing", "J", "one packet handed to a core by its tile"),
    "hop_x": Term("routing", "J", "one packet over one horizontal mesh link"),
    "hop_y": Term("routing", "J", "one packet over one vertical mesh link"),
    "chip_hop": Term("routing", "J", "one packet over one link between chips"),
    "weight_read": Term("memory", "J", "one weight read from memory (one a synaptic event)"),
    "state_read": Term("memory", "J", "one membrane potential read (one a synaptic event and one an update)"),
    "state_write": Term("memory", "J", "one membrane potential written (likewise)"),
    "static_chip": Term("static", "W", "one chip that is on"),
    "static_core": Term("static", "W", "one core in use"),
    "clock_cycle": Term("static", "J", "one cycle of the chip's clock, busy or not"),
    "host_chip": Term("host", "W", "what feeds one chip, running while it runs: its processors, or its camera"),
    "reset_chip": Term("static", "J", "one chip set back to its initial state, once an inference"),
}

TIMES: dict[str, str] = {
    "synaptic_event": "one synaptic event in its core",
    "synaptic_event_dense": "the same, through a fully connected layer",
    "synaptic_event_conv": "the same, through a convolution or pooling",
    "synaptic_event_sparse": "the same, through explicitly listed connections",
    "neuron_access": "one neuron looked at",
    "neuron_update": "one active neuron updated",
    "neuron_idle": "one inactive neuron passed over",
    "spike": "one spike emitted",
    "packet_in": "one packet received by a core",
    "packet_out": "one packet sent by a core",
    "hop_x": "one packet over a horizontal link",
    "hop_y": "one packet over a vertical link",
    "local_delivery": "one packet handed to a core by its tile",
    "host_step": "one time step of a host that streams inputs in and outputs out",
    "tick": "one time step of a chip that runs in step with a clock",
}
