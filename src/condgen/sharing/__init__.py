"""What others can use without training: a model repository with ONNX, weights in the package, the page.

No stage runs anything of this package, so none lists it in its `deps`.
"""
