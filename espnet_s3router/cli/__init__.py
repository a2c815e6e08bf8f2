"""The command ``s3router``: parse, call one function, print. Heavy libraries load when a command runs, not for its help."""
