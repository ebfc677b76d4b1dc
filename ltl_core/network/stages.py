"""Stages: layers of neurons with all that leads into them. A network computes one after another."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from ltl_core.errors import LayerShapeError, NetworkError
from ltl_core.network.graph import INPUT, Edges, only_output, readers, sorted_names
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


class Branch(BaseModel):
    """One input of a stage: a source, pooled, through weights or straight."""

    model_config = ConfigDict(frozen=True)

    layer: Weighted | None  # None: straight
    pools: tuple[AvgPool2d, ...]
    source: str | None  # the stage that feeds it; None is the network's input
    source_shape: Shape  # what arrives, before pooling
    input_shape: Shape  # after pooling


class Stage(BaseModel):
    """One layer of neurons, the branches that lead into it, and the shapes around them.

    `layer`, `pools`, `source` and the shapes of the input are those of the first branch, which
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
        """Layers with weights among the branches."""
        return tuple(branch.layer for branch in self.branches if branch.layer is not None)

    @property
    def layer(self) -> Weighted:
        """Layer with weights of the first branch."""
        return self.matrices[0]

    @property
    def pools(self) -> tuple[AvgPool2d, ...]:
        """Pools of the first branch, in the order in which they are computed."""
        return self.branches[0].pools

    @property
    def source(self) -> str | None:
        """Stage that feeds the first branch; None is the network's input."""
        return self.branches[0].source

    @property
    def source_shape(self) -> Shape:
        """Shape of what reaches the first branch, before pooling."""
        return self.branches[0].source_shape

    @property
    def input_shape(self) -> Shape:
        """Shape of what reaches the weights of the first branch, after pooling."""
        return self.branches[0].input_shape

    @property
    def columns(self) -> int:
        """Number of columns of the first branch's weights: outputs, or output channels."""
        return self.layer.weight_shape[0]

    @property
    def rows(self) -> int:
        """Number of rows of the first branch's weights: inputs of one column."""
        return size(self.layer.weight_shape[1:])


def stages_of(shape: Shape, layers: Iterable[Layer], edges: Edges) -> tuple[Stage, ...]:
    """Return the stages of a network, each behind all that feed it; the readout is the last.

    `shape` is that of the network's input. Raises NetworkError, and LayerShapeError if a layer
    cannot take the shape that reaches it.
    """
    return _StageBuilder(shape, layers, edges).build()


class _StageBuilder:
    """Collects the stages, layer by layer, from the input to the readout."""

    def __init__(self, shape: Shape, layers: Iterable[Layer], edges: Edges) -> None:
        self._edges = edges
        self._layers = {layer.name: layer for layer in layers}
        self._order = sorted_names(edges)
        self._readout = only_output(edges)
        # By layer, the branch that begins where the layer ends: without weights behind neurons
        # and pools, with its weights behind a layer that does not fire.
        self._branches = {
            INPUT: Branch(layer=None, pools=(), source=None, source_shape=shape, input_shape=shape)
        }

    def build(self) -> tuple[Stage, ...]:
        stages = [
            stage for name in self._order if (stage := self._take(self._layers[name])) is not None
        ]
        if stages and isinstance(self._layers[self._readout], Conv2d | Linear):
            return tuple(stages)
        raise NetworkError("The last layer is the readout and must be a conv2d or linear layer.")

    def _take(self, layer: Layer) -> Stage | None:
        """Return the stage that ends in this layer; None if it has no neurons."""
        if isinstance(layer, Add):
            return self._addition(layer)
        branch = self._only_input(layer)
        shape = layer.output_shape(branch.input_shape)
        if isinstance(layer, AvgPool2d | GlobalAvgPool):
            pool = (
                layer.as_window(branch.input_shape) if isinstance(layer, GlobalAvgPool) else layer
            )
            pooled = {"pools": (*branch.pools, pool), "input_shape": shape}
            self._branches[layer.name] = branch.model_copy(update=pooled)
            return None
        weighted = branch.model_copy(update={"layer": layer})
        if not layer.fires and layer.name != self._readout:
            self._check_added(layer)
            self._branches[layer.name] = weighted
            return None
        return self._stage(layer, (weighted,), shape)

    def _addition(self, layer: Add) -> Stage:
        inputs = [self._branches[name] for name in self._edges[layer.name]]
        branches = tuple(sorted(inputs, key=lambda branch: branch.layer is None))
        if len(branches) < 2 or branches[0].layer is None:
            raise NetworkError(
                f"The addition '{layer.name}' needs at least two inputs, and at least one of them "
                "must be a layer with weights that does not fire."
            )
        shapes = [_output_shape(branch) for branch in branches]
        if other := next((shape for shape in shapes if shape != shapes[0]), None):
            raise LayerShapeError(layer.name, shapes[0], other)
        return self._stage(layer, branches, shapes[0])

    def _stage(self, layer: Weighted | Add, branches: tuple[Branch, ...], shape: Shape) -> Stage:
        self._branches[layer.name] = Branch(
            layer=None, pools=(), source=layer.name, source_shape=shape, input_shape=shape
        )
        return Stage(
            name=layer.name,
            branches=branches,
            ceiling=layer.ceiling,
            output_shape=shape,
            is_readout=layer.name == self._readout,
        )

    def _only_input(self, layer: Layer) -> Branch:
        sources = self._edges[layer.name]
        if len(sources) != 1:
            raise NetworkError(
                f"Layer '{layer.name}' reads {', '.join(sources)}, but only an addition takes "
                "several inputs: put a layer of kind 'add' between them."
            )
        branch = self._branches[sources[0]]
        if branch.layer is not None:
            raise NetworkError(
                f"Layer '{layer.name}' reads '{sources[0]}', which does not fire: only an addition "
                "can take its column sums."
            )
        return branch

    def _check_added(self, layer: Weighted) -> None:
        reading = [self._layers[name] for name in readers(self._edges, layer.name)]
        if len(reading) != 1 or not isinstance(reading[0], Add):
            raise NetworkError(
                f"Layer '{layer.name}' does not fire, so exactly one addition must read it."
            )


def _output_shape(branch: Branch) -> Shape:
    shape = branch.input_shape
    return shape if branch.layer is None else branch.layer.output_shape(shape)
