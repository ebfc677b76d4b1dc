"""What to write instead of an operation that has no counterpart in a spiking network."""

ACCEPTED = (
    "accepted are Conv2d, Conv1d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh, clamp, average pools, "
    "additions, concatenation, scales, views, Flatten, Dropout"
)
_MAX_POOL = (
    "spikes have no maximum to pool; use AvgPool2d, or a stride of 2 in the convolution. "
    "tandemcal.replace_max_pool(module) returns a copy with average pools, or with strides, to be "
    "fine-tuned"
)
_MAX_POOL_FUNCTION = (
    "spikes have no maximum to pool; use F.avg_pool2d, AvgPool2d or a stride of 2 in the "
    "convolution, and fine-tune; or write nn.MaxPool2d, which tandemcal.replace_max_pool(module) "
    "finds; it does not find functions"
)
_CLIPPED = (
    "a rate is neither negative nor unbounded; put nn.Hardtanh(0, 2), a clipped ReLU, in its place "
    "and fine-tune the module for a few epochs"
)
_SAMPLE_NORM = (
    "its statistics change with every sample; use BatchNorm, which is folded into weights, and "
    "train again"
)
_ATTENTION = (
    "it multiplies values that depend on the input, which neurons cannot; use convolutions and "
    "matrices"
)
_RECURRENT = (
    "it is recurrent; a network is feed-forward. Accepted over time is a Conv1d, which is a "
    "convolution of height one; " + ACCEPTED
)
_TRANSPOSED = "it widens its input; use an average pool or a stride, which narrow it, or a Linear"

_ADVICE = {
    _MAX_POOL: "maxpool",
    _MAX_POOL_FUNCTION: "max_pool",
    _CLIPPED: (
        "leakyrelu leaky_relu prelu gelu silu swish elu selu celu mish hardswish softplus tanh "
        "hardsigmoid rrelu logsigmoid softsign"
    ),
    _SAMPLE_NORM: (
        "layernorm layer_norm groupnorm group_norm instancenorm instance_norm localresponsenorm "
        "local_response_norm rmsnorm rms_norm"
    ),
    _ATTENTION: "attention transformer bilinear matmul einsum bmm glu",
    _RECURRENT: "lstm gru rnn",
    _TRANSPOSED: "convtranspose conv_transpose upsample interpolate pixelshuffle",
}


def advice_on(kind: str) -> str:
    """Return what to use instead of a module or function of this name."""
    name = kind.lower().strip("_")
    for advice, words in _ADVICE.items():
        if any(name == word or (len(word) > 5 and word in name) for word in words.split()):
            return advice
    return ACCEPTED
