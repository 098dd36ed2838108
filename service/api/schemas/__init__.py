"""The wire types as pydantic models, with every limit. In: nothing; out: types that FastAPI documents.

May import: api's vocabulary, engine's and packages' vocabulary.
"""
