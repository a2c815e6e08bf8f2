"""Commands about the installation: is it whole, and recipes for people who only have pip."""
