"""Commands about route files: `route`, `bank`, `language`."""
