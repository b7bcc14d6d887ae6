"""condgen: told which digit to draw, which model draws better, a conditional VAE or a conditional GAN?"""

__version__ = "0.1.0"
