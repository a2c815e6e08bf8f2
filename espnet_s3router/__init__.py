"""S3Router: learn which connections of a shared, frozen speech model each language or task keeps.

Importing this package is light: it neither loads torch nor registers anything. ``import espnet_s3router.plugin`` makes
ESPnet know the frontend ``masked_upstream``.
"""

__version__ = "0.1.0"
