"""What is computed: seeds to samples, samples to logits. It knows nothing of HTTP, of manifests or of media types."""
