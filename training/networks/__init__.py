"""The players: networks of the sizes that a configuration asks for, free of training and of files."""
