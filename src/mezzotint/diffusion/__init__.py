"""The mathematics of diffusion: process, schedule, parameterization, denoiser, solver, grid. Imports torch alone."""
