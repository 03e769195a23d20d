"""From tensors to a network: the candidates that their shapes allow, trials on images, the choice."""
