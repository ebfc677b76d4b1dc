"""What the fork server loads first: torch with one thread, so that none is left behind by a fork.

A child has the memory of the fork server, but of its threads only the one that forked. If OpenMP
had started others there, the first operation that it shares out would wait for them for ever.
"""

import torch

torch.set_num_threads(1)
