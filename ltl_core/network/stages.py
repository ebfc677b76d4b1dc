"""Layers of neurons with all that leads into them: what a network computes, step by step."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from ltl_core.errors import LayerShapeError, NetworkError
from ltl_core.network.graph import INPUT, only_output, readers, sorted_names
from ltl_core.network.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    GlobalAvgPool,
    Layer,
    Linear,
    Shape,
    Weighted,
    size,
)

Edges = Mapping[str, tuple[str, ...]]  # the names that each layer reads


class Branch(BaseModel):
    """One way into a layer of neurons: its source, pooled, through weights or straight."""

    model_config = ConfigDict(frozen=True)

    layer: Weighted | None  # None: straight
    pools: tuple[AvgPool2d, ...]
    source: str | None  # the stage that feeds it; None is the network's input
    source_shape: Shape  # what arrives, before pooling
    input_shape: Shape  # after pooling


class Stage(BaseModel):
    """One layer of neurons, all that leads into it, and the shapes around them.

    `layer`, `pools`, `source` and the shapes of what arrives are those of the first branch, which
    has weights; in a chain it is the only one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    branches: tuple[Branch, ...] = Field(min_length=1)
    ceiling: float | None
    output_shape: Shape
    is_readout: bool

    @property
    def matrices(self) -> tuple[Weighted, ...]:
        """The layers with weights among its branches."""
        return tuple(branch.layer for branch in self.branches if branch.layer is not None)

    @property
    def layer(self) -> Weighted:
        return self.matrices[0]

    @property
    def pools(self) -> tuple[AvgPool2d, ...]:
        return self.branches[0].pools

    @property
    def source(self) -> str | None:
        return self.branches[0].source

    @property
    def source_shape(self) -> Shape:
        return self.branches[0].source_shape

    @property
    def input_shape(self) -> Shape:
        return self.branches[0].input_shape

    @property
    def columns(self) -> int:
        return self.layer.weight_shape[0]

    @property
    def rows(self) -> int:
        return size(self.layer.weight_shape[1:])


class StageWalk:
    """Walks the layers from the input to the readout."""

    def __init__(self, shape: Shape, layers: Iterable[Layer], edges: Edges) -> None:
        """Of what shape the input is, and what each layer reads. Raises NetworkError."""
        self._edges = edges
        self._layers = {layer.name: layer for layer in layers}
        self._order = sorted_names(edges)
        self._readout = only_output(edges)
        # What each layer hands on: a branch that leads on from here, or through its own weights.
        self._ways = {
            INPUT: Branch(layer=None, pools=(), source=None, source_shape=shape, input_shape=shape)
        }

    def all(self) -> tuple[Stage, ...]:
        """In an order in which each comes behind all that feed it; the readout is the last."""
        stages = [
            stage for name in self._order if (stage := self._take(self._layers[name])) is not None
        ]
        if stages and isinstance(self._layers[self._readout], Conv2d | Linear):
            return tuple(stages)
        raise NetworkError("The last layer is the readout and must be a conv2d or linear layer.")

    def _take(self, layer: Layer) -> Stage | None:
        if isinstance(layer, Add):
            return self._add(layer)
        way = self._one_way(layer)
        shape = layer.output_shape(way.input_shape)
        if isinstance(layer, AvgPool2d | GlobalAvgPool):
            pool = layer.over(way.input_shape) if isinstance(layer, GlobalAvgPool) else layer
            pooled = {"pools": (*way.pools, pool), "input_shape": shape}
            self._ways[layer.name] = way.model_copy(update=pooled)
            return None
        branch = way.model_copy(update={"layer": layer})
        if not layer.fires and layer.name != self._readout:
            self._check_added(layer)
            self._ways[layer.name] = branch
            return None
        return self._stage(layer, (branch,), shape)

    def _add(self, layer: Add) -> Stage:
        ways = [self._ways[name] for name in self._edges[layer.name]]
        branches = tuple(sorted(ways, key=lambda way: way.layer is None))
        if len(branches) < 2 or branches[0].layer is None:
            raise NetworkError(
                f"The addition '{layer.name}' needs at least two inputs, and at least one of them "
                "must be a layer with weights that does not fire."
            )
        shapes = [_reached(branch) for branch in branches]
        if other := next((shape for shape in shapes if shape != shapes[0]), None):
            raise LayerShapeError(layer.name, shapes[0], other)
        return self._stage(layer, branches, shapes[0])

    def _stage(self, layer: Weighted | Add, branches: tuple[Branch, ...], shape: Shape) -> Stage:
        self._ways[layer.name] = Branch(
            layer=None, pools=(), source=layer.name, source_shape=shape, input_shape=shape
        )
        return Stage(
            name=layer.name,
            branches=branches,
            ceiling=layer.ceiling,
            output_shape=shape,
            is_readout=layer.name == self._readout,
        )

    def _one_way(self, layer: Layer) -> Branch:
        sources = self._edges[layer.name]
        if len(sources) != 1:
            raise NetworkError(
                f"Layer '{layer.name}' reads {', '.join(sources)}, but only an addition takes "
                "several inputs: put a layer of kind 'add' between them."
            )
        way = self._ways[sources[0]]
        if way.layer is not None:
            raise NetworkError(
                f"Layer '{layer.name}' reads '{sources[0]}', which does not fire: only an addition "
                "can take its column sums."
            )
        return way

    def _check_added(self, layer: Weighted) -> None:
        reading = [self._layers[name] for name in readers(self._edges, layer.name)]
        if len(reading) != 1 or not isinstance(reading[0], Add):
            raise NetworkError(
                f"Layer '{layer.name}' does not fire, so exactly one addition must read it."
            )


def _reached(branch: Branch) -> Shape:
    shape = branch.input_shape
    return shape if branch.layer is None else branch.layer.output_shape(shape)
