"""Networks: layers as a lab writes them, and stages as a chip holds them."""

from ltl_core.network.layers import Add as Add
from ltl_core.network.layers import AvgPool2d as AvgPool2d
from ltl_core.network.layers import Conv2d as Conv2d
from ltl_core.network.layers import GlobalAvgPool as GlobalAvgPool
from ltl_core.network.layers import Linear as Linear
from ltl_core.network.spec import InputAffine as InputAffine
from ltl_core.network.spec import NetworkSpec as NetworkSpec
from ltl_core.network.stages import Branch as Branch
from ltl_core.network.stages import Stage as Stage
