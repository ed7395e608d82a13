"""Networks that leave the project: exported, with their explanation."""
