"""The page at `/`. In: requests for it and its files; out: bytes that were read once. May import: no other folder.

`static/` has plain HTML, CSS and JavaScript modules that browsers take as they are; `static/panels/` one module for
each tab. They call the service as any other client does.
"""
