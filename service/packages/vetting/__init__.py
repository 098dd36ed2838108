"""What is checked before a file is trusted: a sandboxed child process parses the graphs and runs them once.

In: files; out: a verdict, cached by hash. May import: packages' vocabulary, engine. `parent` and `cache` belong to the
service; `child`, `rules`, `tensor_sizes`, `batch_axis` (the importers of onnx) and `sandbox` run in the child alone.
"""
