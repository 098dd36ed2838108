"""Reads images: listing a folder or archives, split by name, decoding, cache, one size for all. Writes a folder.

In: a path and the `[data]` table of kind `folder`. Out: `ImageData`; the other way for what is written.
May import data.image_data, files, progress, tables and errors.
"""
