"""Folders of diffusers, read and written: a UNet2DModel, its scheduler, and what they are called here."""
