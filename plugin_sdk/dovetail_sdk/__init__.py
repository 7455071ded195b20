"""What platform plugins for Dovetail share.

sampling    drawing tokens on the host, for platforms whose logits are in host memory
registers   the token that each slot sampled last
batches     checking what an engine hands to a program
runner      graphs executed node by node on a table of kernels: slots, cache, copies, checks, steps
packing     weights of every form, unpacked on the host
tuning      parameters of kernels as data
torch       any device that torch has: kernels in plain torch, steps in flight, sampling on the device, captured steps
mesh        devices that are one process each
compiled    compiled kernels on disk
scaffold    what `dovetail plugin new` writes
reference   the `reference` platform: every op in plain NumPy, the definition the others are held to
null        the `null` platform: no arithmetic, for tests and for measuring everything around a model
testing     random checkpoints, for tests
"""
