"""Interaction graph, item-item graphs, propagation."""
