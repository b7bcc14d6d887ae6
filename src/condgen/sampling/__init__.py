"""From a trained model to images: samples, pictures of numbers, exported data sets, the served model."""
