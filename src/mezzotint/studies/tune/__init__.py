"""Which sampler, steps, guidance and EMA length are best for a given cost?"""
