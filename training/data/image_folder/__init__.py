"""Reads a folder of images: listing, split by name, decoding, one size for all.

In: a path and the `[data]` table of kind `folder`. Out: `ImageData`.
May import data.image_data, tables and errors.
"""
