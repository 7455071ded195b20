"""Kernels of our own: a graph run whole by a small C++ library, weights read in place.

Optional: where the library was not built or the processor lacks AVX-512, OpenVINO runs everything, and says so.
"""
