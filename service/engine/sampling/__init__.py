"""From seeds to latents, and which candidate a discriminator selects. Pure: no asyncio, no threads, no clock.

In: seeds, conditions, logits; out: arrays, and the job of the next round of candidates. May import: the modules of
`service.engine` itself.
"""
