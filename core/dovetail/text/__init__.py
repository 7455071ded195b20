"""Between text and token ids: tokenizer, chat template, and the text of a reply as its tokens come.

Knows nothing of the engine, the network or the command line.
"""
