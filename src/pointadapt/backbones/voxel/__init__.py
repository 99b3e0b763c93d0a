"""Layers of networks over voxels: the Point Transformer V3 family."""
