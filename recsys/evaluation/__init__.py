"""Metrics, protocols, significance, report."""
