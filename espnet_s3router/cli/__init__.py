"""The command ``s3router``: parse, call one function, print."""
