"""What all other folders use: parameters, files, errors, random generators, reading dvc.yaml."""
