"""The command ``publisher``: one file for each family of verbs. Nothing below it prints."""
