"""Reasoning and tool calls in a reply's text, read as it comes: one module per format that models write.

reader.py drives it, table.py says which chat template takes which format. Nothing here knows of HTTP; a reader takes pieces of
text and gives parts: text, reasoning, and calls whose arguments come out in fragments.
"""
