"""Words of people to rows of `Cond`: what models are asked to make, and what stands for nothing asked."""
