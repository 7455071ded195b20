"""Kernels in Pallas, one file per op; `select.py` says where each runs."""
