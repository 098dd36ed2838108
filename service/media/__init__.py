"""How samples are written and read. In: pixels, arrays, untrusted bytes; out: files, arrays, refusals.

`negotiation.py` is the one table of media types; every limit is checked before a pixel is decoded. May import: errors.
"""
