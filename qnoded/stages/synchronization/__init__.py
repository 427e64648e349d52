"""Clock synchronization: acquire the offset and the frequency error of bob's clock once, then track them."""
