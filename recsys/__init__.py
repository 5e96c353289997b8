"""A personalized multimodal recommender. Importing it loads neither numpy nor torch."""

__version__ = "0.1.0"
