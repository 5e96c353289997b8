"""Generators of pictures, one file each."""
