"""Scores of spoken language understanding: intents, entities and slots."""
