"""TPUs as a platform of Dovetail: the graph goes whole to XLA, through JAX, with kernels in Pallas."""
