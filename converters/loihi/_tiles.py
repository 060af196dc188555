"""How a layer is cut into tiles, one per core."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

from snnfer.converters.graph import Shape
from snnfer.converters.loihi._geometry import LayerGeometry
from snnfer.converters.loihi.published import Chip

_LIST_SYNAPSES, _LIST_HEADER_BITS, _WORD_BITS = 64, 10, 64
_DELAY_BITS, _INDEX_BITS = 6, 10


def list_bits(n_synapses: int, *, weight_bits: int = 8, delay_bits: int = 0, index_bits: int = 0) -> int:
    r"""Synaptic memory of one list of synapses: of one input axon, or shared by several.

    .. math::
        \sum_\text{parts of at most 64} 64 \left\lceil \frac{n (b_w + b_d + b_i) + 10}{64} \right\rceil

    Args:
        n_synapses: Synapses n of the list.
        weight_bits: Bits of a weight.
        delay_bits: Bits of a delay, 0 where there are none.
        index_bits: Bits that name the neuron, 0 where the list reaches all neurons in their order.

    References:
        Davies et al., IEEE Micro 38(1), 2018 (128 KB per core); the format is that of nengo-loihi's public compiler.

    Examples:
        >>> list_bits(62), list_bits(63), list_bits(65)  # 506 bits, 514 bits, and two parts
        (512, 576, 640)
    """
    bits = weight_bits + delay_bits + index_bits
    parts = [_LIST_SYNAPSES] * (n_synapses // _LIST_SYNAPSES) + [n_synapses % _LIST_SYNAPSES]
    return sum(_WORD_BITS * ceil((n * bits + _LIST_HEADER_BITS) / _WORD_BITS) for n in parts if n)


@dataclass(frozen=True)
class Tile:
    """A cut of a layer, and what its fullest core holds.

    Args:
        extent: Channels, height and width of a tile; of a dense layer, neurons.
        n_tiles: Tiles along each of them.
        neurons, input_axons, output_axons, memory_bits: Of the fullest core.
    """

    extent: Shape
    n_tiles: Shape
    neurons: int
    input_axons: int
    output_axons: int
    memory_bits: int

    @property
    def cores(self) -> int:
        """One per tile."""
        return prod(self.n_tiles)

    @property
    def cost(self) -> tuple[int, int, int]:
        """What is to be small: cores, the edges that the cores before it need, memory."""
        return self.cores, self.input_axons, self.memory_bits


@dataclass(frozen=True)
class Destinations:
    """How many cores of the next layer the spikes of a neuron go to: the product over channels, height and width.

    Args:
        channels: Tiles of channels that a neuron reaches.
        rows, columns: Tiles that each row and column reaches; empty where all neurons reach the same.
    """

    channels: int = 0
    rows: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


class Tiler:
    """Cuts one layer for one chip.

    Args:
        layer: The layer.
        chip: Limits of a core.
        destinations: Where its spikes go.
        share_weights: Whether the synapse lists of a convolution are stored once per input channel and position modulo
            the stride; otherwise once per input.
        weight_bits: Bits of a weight.
    """

    def __init__(
        self, layer: LayerGeometry, chip: Chip, destinations: Destinations, *, share_weights: bool, weight_bits: int
    ) -> None:
        self.layer, self.chip, self.destinations = layer, chip, destinations
        self.share_weights, self.weight_bits = share_weights, weight_bits

    def best(self) -> Tile | None:
        """The cut that needs the fewest cores, of those the fewest input axons; None if not even one neuron fits."""
        best: Tile | None = None
        for extent in self._extents():
            cores = self._n_tiles(extent)
            if best is not None and prod(cores) > best.cores:
                continue
            tile = self.measure(extent)
            if not self.exceeded(tile) and (best is None or tile.cost < best.cost):
                best = tile
        return best

    def smallest(self) -> Tile:
        """One neuron per core."""
        return self.measure((1,) * len(self.layer.shape))

    def exceeded(self, tile: Tile) -> str:
        """The first limit that `tile` breaks, in words; empty if it fits."""
        for what, value, limit in (
            ("neurons", tile.neurons, self.chip.neurons),
            ("input axons", tile.input_axons, self.chip.input_axons),
            ("bits of synaptic memory", tile.memory_bits, self.chip.memory_bits),
            ("output axons", tile.output_axons, self.chip.output_axons),
        ):
            if limit is not None and value > limit:
                return f"{value:,} {what}, a core has {limit:,}"
        return ""

    def measure(self, extent: Shape) -> Tile:
        """What the fullest core of a cut into tiles of `extent` holds."""
        if len(extent) == 1:
            n_inputs = self.layer.input_shape[0]
            bits = n_inputs * self._list_bits(extent[0], index_bits=0)
            fan_out = extent[0] * self.destinations.channels
            return Tile(extent, self._n_tiles(extent), extent[0], n_inputs, fan_out, bits)
        channels, height, width = extent
        neurons = channels * height * width
        inputs = self.layer.input_channels(channels)
        rows, columns = self._profiles(0, height), self._profiles(1, width)
        used = max(sum(row.values()) for row in rows) * max(sum(column.values()) for column in columns)
        memory = self._shared_bits(channels, neurons) if self.share_weights else self._own_bits(extent, neurons)
        return Tile(extent, self._n_tiles(extent), neurons, inputs * used, self._output_axons(extent), memory)

    def _extents(self) -> Iterator[Shape]:
        if len(self.layer.shape) == 1:
            yield from ((n,) for n in range(1, min(self.layer.shape[0], self.chip.neurons) + 1))
            return
        n_channels, n_rows, n_columns = self.layer.shape
        for channels in (n for n in range(1, n_channels + 1) if self._divides(n)):
            for height in range(1, min(n_rows, self.chip.neurons // channels) + 1):
                for width in range(1, min(n_columns, self.chip.neurons // (channels * height)) + 1):
                    yield channels, height, width

    def _divides(self, n: int) -> bool:
        """Whether tiles of `n` channels are equal, and begin and end with groups or lie inside one."""
        group = self.layer.outputs_per_group
        return self.layer.shape[0] % n == 0 and (n % group == 0 or group % n == 0)

    def _n_tiles(self, extent: Shape) -> Shape:
        return tuple(ceil(n / size) for n, size in zip(self.layer.shape, extent, strict=True))

    def _profiles(self, axis: int, size: int) -> list[Counter[int]]:
        """Of each distinct tile along an axis: how many inputs reach 1, 2, ... of its outputs."""
        cache = self._profile_cache
        if (axis, size) not in cache:
            length = self.layer.shape[1 + axis]
            found: list[Counter[int]] = []
            for start in range(0, length, size):
                counts = Counter(n for n in self.layer.reached(axis, start, min(start + size, length)) if n)
                if counts not in found:
                    found.append(counts)
            cache[axis, size] = found
        return cache[axis, size]

    @cached_property
    def _profile_cache(self) -> dict[tuple[int, int], list[Counter[int]]]:
        return {}

    def _list_bits(self, n_synapses: int, *, index_bits: int) -> int:
        taps = self.layer.time_taps
        delay_bits = _DELAY_BITS if taps > 1 else 0
        return list_bits(n_synapses * taps, weight_bits=self.weight_bits, delay_bits=delay_bits, index_bits=index_bits)

    def _shared_bits(self, channels: int, neurons: int) -> int:
        """One list per input channel and position modulo the stride, as long as far from the borders."""
        fan_out, index_bits = min(channels, self.layer.outputs_per_group), _index_bits(neurons)
        lists = sum(
            self._list_bits(fan_out * rows * columns, index_bits=index_bits)
            for rows in self.layer.taps_per_phase(0)
            for columns in self.layer.taps_per_phase(1)
        )
        return self.layer.input_channels(channels) * lists

    def _own_bits(self, extent: Shape, neurons: int) -> int:
        """One list per input, as long as the neurons of the tile that it reaches."""
        fan_out, index_bits = min(extent[0], self.layer.outputs_per_group), _index_bits(neurons)
        lists = max(
            sum(
                n_rows * n_columns * self._list_bits(fan_out * rows * columns, index_bits=index_bits)
                for rows, n_rows in row_counts.items()
                for columns, n_columns in column_counts.items()
            )
            for row_counts in self._profiles(0, extent[1])
            for column_counts in self._profiles(1, extent[2])
        )
        return self.layer.input_channels(extent[0]) * lists

    def _output_axons(self, extent: Shape) -> int:
        rows, columns = self.destinations.rows, self.destinations.columns
        if not rows:  # the next layer is dense, or there is none
            return self.destinations.channels * extent[0] * extent[1] * extent[2]
        return extent[0] * self.destinations.channels * _fullest(rows, extent[1]) * _fullest(columns, extent[2])


def destinations(layer: LayerGeometry, tile: Tile) -> Destinations:
    """Where the spikes that enter `layer` go, which is cut into tiles like `tile`."""
    if len(tile.extent) == 1:
        return Destinations(channels=tile.cores)
    tiles_per_group = max(1, layer.outputs_per_group // tile.extent[0])
    return Destinations(tiles_per_group, *(_reached_tiles(layer, tile, axis) for axis in (0, 1)))


def _reached_tiles(layer: LayerGeometry, tile: Tile, axis: int) -> tuple[int, ...]:
    """Tiles along an axis that each input row or column reaches."""
    length, size = layer.shape[1 + axis], tile.extent[1 + axis]
    reached = [layer.reached(axis, start, min(start + size, length)) for start in range(0, length, size)]
    return tuple(sum(n > 0 for n in counts) for counts in zip(*reached, strict=True))


def _fullest(counts: tuple[int, ...], size: int) -> int:
    return max(sum(counts[start : start + size]) for start in range(0, len(counts), size))


def _index_bits(neurons: int) -> int:
    return max(_INDEX_BITS, (neurons - 1).bit_length())
