"""Getting and checking images; from npz to tensors, the split and batches."""
