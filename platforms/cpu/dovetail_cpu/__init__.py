"""Dovetail on CPUs: a whole graph handed to OpenVINO, with its paged attention over our blocks."""
