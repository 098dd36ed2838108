"""What is checked before a file is trusted: a sandboxed child process parses the graphs and runs them once.

In: files; out: a verdict, cached by hash. May import: packages' vocabulary; only `child` imports onnx.
"""
