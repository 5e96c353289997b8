"""The frame: protocols, values, configuration, registry, artifacts, errors, runtime."""
