"""From seeds to latents, and which candidate a discriminator accepts. Pure: no asyncio, no threads, no clock.

In: seeds, conditions, rules; out: arrays. May import: engine's vocabulary.
"""
