"""What is minimised: data laws, activations, networks, population risks."""
