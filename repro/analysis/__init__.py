"""From rows of experiments to the numbers that claims are judged by and figures draw; one module per paper."""
