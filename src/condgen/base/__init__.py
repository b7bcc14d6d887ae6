"""What everything stands on: parameters, files, errors, random numbers, the pipeline's declaration."""
