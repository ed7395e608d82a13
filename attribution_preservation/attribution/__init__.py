"""Attribution methods: map = f(network, images, classes)."""
