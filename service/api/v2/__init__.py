"""The Open Inference Protocol under /v2. In: its requests; out: its answers, tensors by name.

May import: everything of api.
"""
