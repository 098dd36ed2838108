"""One module an endpoint: the whole flow of a request on one screen. In: a request; out: a response.

May import: everything of api but v2, and no other endpoint.
"""
