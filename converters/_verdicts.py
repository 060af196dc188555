"""What lava and NIR can do with each node of a graph."""

from dataclasses import dataclass
from typing import Literal

from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Spike, Vote
from snnfer.converters.passes import for_chip

Target = Literal["lava", "nir"]
DIRECT = "snnfer.converters.lava.direct.run_block3d_lava"
"""What runs convolutions over time on lava."""
Answer = Literal["yes", "after folding", "graph only", "no"]


@dataclass(frozen=True)
class Verdict:
    """Whether a node can be exported.

    Args:
        answer: ``yes``; ``after folding`` for what is rewritten without error; ``graph only`` for what a lava graph can
            hold and a netx file cannot; ``no``.
        reason: What is rewritten, or why not.
        fix: What to change.
    """

    answer: Answer
    reason: str = ""
    fix: str = ""


YES = Verdict("yes")
_JOINED = Verdict("after folding", "one with the layer behind it")
_NOT_SPIKES = Verdict("no", "it passes values on, not spikes", "turn it into spikes with 'snnfer convert'")


class Judge:
    """Judges the nodes of one graph.

    Args:
        graph: As `to_graph` gives it, or a part of it.
        goes_on: Whether something follows that no graph has.
    """

    def __init__(self, graph: Graph, *, goes_on: bool = False) -> None:
        self.goes_on = goes_on
        self.chip = for_chip(graph)
        self.nodes = graph.nodes
        self.names = [node.name for node in graph.nodes]
        self.place = {node.name: i for i, node in enumerate(self.chip.nodes)}

    def __call__(self, node: Node, target: Target) -> Verdict:
        """The verdict on `node`."""
        if isinstance(node, Affine):
            return self._normalisation(node)
        if isinstance(node, Pool):
            return self._pooling(node, target)
        if isinstance(node, Conv | Dense):
            return self._synapses(node, target)
        if isinstance(node, Spike):
            return self._neurons(node, target)
        if isinstance(node, Activation):
            return _NOT_SPIKES if target == "lava" else Verdict("no", "NIR has no such node", _NOT_SPIKES.fix)
        if isinstance(node, Vote):
            if node is self.nodes[-1]:
                return Verdict("yes", "read out behind the chip")
            return Verdict("no", "votes are means, not spikes", "vote at the end")
        assert isinstance(node, Flatten)
        return YES

    def _normalisation(self, node: Affine) -> Verdict:
        if node.name not in self.place:
            return Verdict("after folding", "into the weights beside it")
        return Verdict("no", "no layer beside it can take it in", "put it between the weights and the neurons")

    def _pooling(self, node: Pool, target: Target) -> Verdict:
        if node.kind == "max":
            if f"{node.name}.or" in self.place:
                return Verdict("after folding", "an OR: a neuron per window")
            return Verdict("no", "maximum of values that are not spikes", "pool behind the neurons")
        if node.name not in self.place or target == "nir":
            return Verdict("after folding", "into the weights beside it")
        neurons = self._with_neurons(node)
        return neurons if neurons.answer == "no" else Verdict("after folding", "a convolution per channel")

    def _synapses(self, node: Conv | Dense, target: Target) -> Verdict:
        home = self._home(node)
        taps = node.time_taps if isinstance(node, Conv) else 1
        if target == "nir":
            return self._synapses_of_nir(node, home, taps)
        if not bool(node.weight.any()):
            return Verdict("no", "all weights are 0", "train it, or leave the layer out")
        neurons = self._with_neurons(home)
        if neurons.answer == "no":
            return neurons
        if taps > 1:
            reason = f"{taps} steps at once are synapses with delays, which a netx file cannot hold"
            return Verdict("graph only", reason, f"run the block as a lava graph: {DIRECT}")
        return YES if home.name == node.name else _JOINED

    def _synapses_of_nir(self, node: Conv | Dense, home: Node, taps: int) -> Verdict:
        if taps > 1:
            return Verdict("no", f"it sees {taps} steps, and NIR has no convolution over time", "export to lava")
        if isinstance(home, Conv):
            height, width = home.weight.shape[-2:]
            if (height - width) % 2:
                return Verdict("no", f"its kernel is {height} x {width}", "make both sides odd, or both even")
            if home.groups > 1 or height != width:
                return Verdict("after folding", "a dense, square kernel, with zeros")
        return YES if home.name == node.name else _JOINED

    def _neurons(self, node: Spike, target: Target) -> Verdict:
        if node.reset == "soft":
            return Verdict("no", "it resets by subtraction, and chips reset to zero", 'train with reset="hard"')
        if node.v_threshold <= node.v_reset:
            return Verdict("no", "its threshold is not above its reset", "give it a higher threshold")
        before = self.chip.nodes[self.place[node.name] - 1] if self.place[node.name] else None
        if target == "lava" and not isinstance(before, Conv | Dense):
            return Verdict("no", "no synapses before it", "put a convolution or linear layer before it")
        if node.v_reset != 0:
            return Verdict("after folding", "potentials counted from rest")
        if (target == "lava") == node.decay_input:
            return Verdict("after folding", "the factor of its input into the weights")
        return YES

    def _home(self, node: Node) -> Node:
        """The node of the chip's graph that `node` is part of."""
        later = self.nodes[self.names.index(node.name) :]
        name = next(other.name for other in later if other.name in self.place)
        return self.chip.nodes[self.place[name]]

    def _with_neurons(self, node: Node) -> Verdict:
        """Whether neurons (or an activation, which has its own verdict) follow `node`, of the chip's graph."""
        rest = self.chip.nodes[self.place[node.name] + 1 :]
        if isinstance(rest[0], Spike | Activation) if rest else self.goes_on:
            return YES
        return Verdict("no", "no neurons behind it", "put spiking neurons behind it")
