"""How samples are written and read: one table of media types, and limits that are checked before a pixel is decoded."""
