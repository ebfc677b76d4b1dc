"""How much of a layer is worked on at once, which sets the memory that a pass takes."""

STEPS_AT_ONCE = 4  # of a rule that needs no later steps
NUMBERS_AT_ONCE = 2**23  # rows, membranes and spikes of a few samples that stay in the cache
NUMBERS_FITTED = 2**24  # unfolded inputs of the samples to which a layer's weights are fitted
NUMBERS_AT_ONCE_ON_GPU = 2**28
