"""What is served: packages found, read with suspicion, vetted, and handed to the engine."""
