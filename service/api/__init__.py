"""What the HTTP interface says. The folder's own modules are its vocabulary; its sub-folders do the work.

In: HTTP requests; out: jobs for the engine, and answers in every media type.

May import: server, packages, engine, media.
"""
