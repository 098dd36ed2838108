"""Who may ask what. In: headers, paths and the operator's file of keys; out: the key of a request, or its refusal.

Independent of GANs and of how HTTP is read. May import: settings, errors, logs.
"""
