"""Networks as plain containers of tensors."""
