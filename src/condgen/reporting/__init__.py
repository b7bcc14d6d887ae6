"""Numbers and images to pictures and pages."""
