"""Reads a folder of images: listing, split by name, decoding, one size for all. Writes one.

In: a path and the `[data]` table of kind `folder`. Out: `ImageData`; the other way for what is written.
May import data.image_data, tables and errors.
"""
